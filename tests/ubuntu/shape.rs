//! Whether the stand-in has the shape of Ubuntu's archive: what a build could trip over is there.

use std::{collections::BTreeSet, fs, path::Path};

use coremax_fetch::Digest;
use coremax_tests::{
    Outcome,
    deb::{Deb, Stanza},
    expect,
    standin::{COMPONENTS, SUITES, Suite, UPDATES},
};

use crate::{Stage, apt::Apt, says};

pub(crate) fn suites(stage: &Stage) -> Outcome {
    for (suite, name, _) in SUITES {
        let folder = stage.archive.root().join("dists").join(name);
        let text = fs::read_to_string(folder.join("InRelease")).map_err(|e| e.to_string())?;
        let suite_line = format!("\nSuite: {name}\n");
        says(
            &text,
            &["BEGIN PGP SIGNED MESSAGE", "\nOrigin: Ubuntu\nLabel: Ubuntu\n", &suite_line],
        )?;
        says(
            &text,
            &[
                "\nCodename: jammy\n",
                "\nMD5Sum:\n ",
                "\nSHA1:\n ",
                "\nAcquire-By-Hash: yes\n",
                "\nComponents: main restricted universe",
            ],
        )?;
        expect(!text.contains("Valid-Until"), || format!("{name} expires"))?;
        let is_old = text.contains("Date: Thu, 21 Apr 2022");
        expect(is_old == (suite == Suite::Release), || format!("{name} is of another date"))?;
        for component in COMPONENTS {
            by_hash(&folder.join(component).join("binary-amd64"))?;
        }
    }
    let pools = fs::read_dir(stage.archive.root().join("pool")).map_err(|e| e.to_string())?;
    let pools: BTreeSet<_> = pools.flatten().map(|it| it.file_name()).collect();
    expect(pools == ["main", "universe"].map(Into::into).into(), || format!("{pools:?}"))
}

/// Every index is there by its hash.
fn by_hash(folder: &Path) -> Outcome {
    for name in ["Packages.gz", "Packages.xz"] {
        let index = fs::read(folder.join(name)).map_err(|e| format!("{name}: {e}"))?;
        let hashed = folder.join("by-hash/SHA256").join(Digest::of(&index).to_string());
        let same = fs::read(&hashed).is_ok_and(|bytes| bytes == index);
        expect(same, || format!("{} is not {name}", hashed.display()))?;
    }
    Ok(())
}

pub(crate) fn believed_by_apt(stage: &Stage) -> Outcome {
    let apt = Apt::of(&stage.archive, &stage.archive.key())?;
    let indexes = apt.indexes()?;
    let wanted = SUITES.iter().flat_map(|(_, suite, _)| {
        ["main", "universe"].map(|component| format!("{suite} {component}"))
    });
    expect(indexes == wanted.collect(), || format!("{indexes:?}"))?;
    apt.run("apt-get", &["check"])?;
    // Not by whoever has another key.
    let other = stage.work.join("other.asc");
    fs::write(&other, coremax_tests::mirror::Signer::new().public()).map_err(|e| e.to_string())?;
    match Apt::of(&stage.archive, &other) {
        Ok(_) => Err("apt believes it with another key".into()),
        Err(why) if why.starts_with("skipped: ") => Err(why),
        Err(why) => expect(why.contains("NO_PUBKEY") || why.contains("not signed"), || why),
    }
}

pub(crate) fn packages(stage: &Stage) -> Outcome {
    let index = stage.index()?;
    let pool = stage.archive.root();
    for stanza in &index {
        let path = pool.join(stanza.get("Filename"));
        let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let head: Vec<_> = [&b"control.tar.zst "[..], b"data.tar.zst    "].into();
        let has = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
        expect(head.into_iter().all(has), || format!("{} is not of zstd", path.display()))?;
        expect(stanza.get("Origin") == "Ubuntu", || format!("{stanza}"))?;
    }
    for update in UPDATES {
        let versions = index.iter().filter(|stanza| stanza.get("Package") == update.name);
        let phased: BTreeSet<_> = versions.map(|it| it.get("Phased-Update-Percentage")).collect();
        let percent = update.phased.map(|percent| percent.to_string());
        expect(phased.contains(percent.as_deref().unwrap_or_default()), || format!("{phased:?}"))?;
    }
    Ok(())
}

/// One of Ubuntu's packages, and what a test of its own finds wrong with it.
type Holds = (&'static str, &'static str, fn(&Deb) -> bool);

const HOLDS: &[Holds] = &[
    ("base-files", "has no links of the merged /usr", |deb| {
        ["bin", "lib", "sbin"].iter().all(|path| !deb.data.is_link(path) && has(deb, path))
    }),
    ("base-files", "says that it is Ubuntu", |deb| {
        let text = deb.data.text("usr/lib/os-release").unwrap_or_default();
        text.contains("\nID=ubuntu\n") && text.contains("\nVERSION_ID=\"22.04\"\n")
    }),
    ("systemd", "has resolved", |deb| has(deb, "lib/systemd/systemd-resolved")),
    ("systemd", "has systemd-boot", |deb| has(deb, "usr/lib/systemd/boot/efi/linuxx64.efi.stub")),
    ("init-system-helpers", "needs usrmerge", |deb| deb.stanza().get("Depends") == "usrmerge"),
    ("usrmerge", "goes by no other name", |deb| deb.stanza().get("Provides").is_empty()),
    ("shim-signed", "has a shim by the name of the newest alone", |deb| {
        let name = |end: &str| format!("usr/lib/shim/shimx64.efi.signed{end}");
        !has(deb, &name("")) && has(deb, &name(".latest")) && has(deb, &name(".previous"))
    }),
    ("shim-signed", "has a MokManager whose name does not say that it is signed", |deb| {
        has(deb, "usr/lib/shim/mmx64.efi") && !has(deb, "usr/lib/shim/mmx64.efi.signed")
    }),
    ("grub-efi-amd64-signed", "has Ubuntu's prefix", |deb| {
        let image = deb.data.content("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed");
        let has = |text: &[u8]| image.is_some_and(|it| it.windows(text.len()).any(|w| w == text));
        has(b"/EFI/ubuntu\0") && has(b"grub.ubuntu,")
    }),
    ("netplan.io", "is netplan", |deb| has(deb, "usr/sbin/netplan")),
];

fn has(deb: &Deb, path: &str) -> bool {
    deb.data.paths().any(|it| it == path)
}

pub(crate) fn contents(stage: &Stage) -> Outcome {
    for (name, what, holds) in HOLDS {
        let deb = stage.deb(|stanza| stanza.get("Package") == *name)?;
        expect(holds(&deb), || format!("{name} is not one that {what}"))?;
    }
    let index = stage.index()?;
    for gone in ["usr-is-merged", "systemd-resolved", "systemd-boot-efi", "linux-image-amd64"] {
        let is_there = index.iter().any(|stanza| stanza.get("Package") == gone);
        expect(!is_there, || format!("Ubuntu has no {gone}"))?;
    }
    let universe = index.iter().find(|stanza| stanza.get("Package") == "e2fsck-static");
    let section = universe.map_or("", |stanza| stanza.get("Section"));
    expect(section.starts_with("universe/"), || format!("e2fsck-static is in {section:?}"))
}

pub(crate) fn kernel(stage: &Stage) -> Outcome {
    let image = |stanza: &Stanza| is_kernel(stanza, "linux-image-6.");
    let kernel = stage.deb(|it| image(it) && it.get("Depends").contains("linux-modules-"))?;
    let has_modules = |deb: &Deb| deb.data.paths().any(|path| path.ends_with(".ko"));
    let has_kernel = |deb: &Deb| deb.data.paths().any(|path| path.starts_with("boot/vmlinuz-"));
    expect(has_kernel(&kernel) && !has_modules(&kernel), || "image and modules are one".into())?;
    for kind in ["linux-modules-6.", "linux-modules-extra-6."] {
        let deb = stage.deb(|it| is_kernel(it, kind) && !it.get("Depends").is_empty())?;
        expect(has_modules(&deb) && !has_kernel(&deb), || format!("{kind} has no modules"))?;
    }
    let apt = Apt::of(&stage.archive, &stage.archive.key())?;
    let name = kernel.stanza().get("Package").to_owned();
    for friend in ["linux-image-generic", "linux-generic", "linux-image-virtual", "linux-virtual"] {
        let installed = apt.installs(&[friend])?;
        let led = installed.iter().any(|it| it.split(' ').next() == Some(&name));
        expect(led, || format!("{friend} does not lead to {name}: {installed:?}"))?;
    }
    Ok(())
}

fn is_kernel(stanza: &Stanza, name: &str) -> bool {
    let package = stanza.get("Package");
    package.starts_with(name) && package.ends_with("-generic")
}
