//! The kernel in Ubuntu's packages. Their names say `-generic`; the kernel's own name, and with it the folder of its
//! modules, is compiled in and stays Debian's.

use super::{pool::Pool, signing::Signing};
use crate::{
    Outcome,
    deb::{Deb, Files, Stanza},
};

/// Drivers that Ubuntu has in linux-modules-extra.
const EXTRA: [&str; 4] = ["drivers/media/", "drivers/net/wireless/", "drivers/staging/", "sound/"];
/// Packages that a kernel's metapackage depends on, and whose content no test needs.
const FIRMWARE: [&str; 3] = ["linux-firmware", "intel-microcode", "amd64-microcode"];
/// What the release had before its updates: a number that no kernel here has.
const OLD_ABI: &str = "6.1.0-1";

/// Debian's kernel becomes three packages, and the kernel itself is signed.
pub(super) fn split(pool: &mut Pool, signing: &Signing) -> Outcome {
    let mut image = pool.take_like(|name| name.starts_with("linux-image-6"))?;
    let stanza = image.stanza();
    let abi = abi(&stanza);
    let is_module = |path: &str| path.starts_with("lib/modules/");
    let is_extra =
        |path: &str| EXTRA.iter().any(|folder| path.contains(&format!("/kernel/{folder}")));
    let extra = image.data.take(|path| is_module(path) && is_extra(path) && path.ends_with(".ko"));
    let modules = image.data.take(|path| {
        is_module(path) || path.starts_with("boot/config-") || path.starts_with("boot/System.map-")
    });
    let vmlinuz = image.data.paths().find(|path| path.starts_with("boot/vmlinuz-"));
    let vmlinuz = vmlinuz.ok_or("there is no vmlinuz")?.to_owned();
    let signed = signing.sign(image.data.content(&vmlinuz).unwrap_or_default())?;
    image.data.put(&vmlinuz, 0o600, &signed);
    image.control.take(|path| path == "md5sums");

    let name = |kind: &str| format!("linux-{kind}-{abi}-generic");
    let depends = format!("{}, {}", stanza.get("Depends"), name("modules"));
    let stanza =
        stanza.without(&["Conflicts", "Replaces", "Recommends", "Suggests", "Built-Using"]);
    let part = |kind: &str, depends: &str, data: Files| {
        let stanza = stanza.clone().with("Package", &name(kind)).with("Depends", depends);
        let mut deb = Deb { data, ..Deb::empty(&stanza) };
        deb.set_stanza(&stanza);
        deb
    };
    pool.put(part("modules", "linux-base", modules));
    pool.put(part("modules-extra", &name("image"), extra));
    image.set_stanza(&stanza.with("Package", &name("image")).with("Depends", &depends));
    pool.put(image);
    Ok(())
}

/// What a recipe names, now and before the release's updates.
pub(super) fn metapackages(pool: &mut Pool) -> Outcome {
    let debian = pool.take("linux-image-amd64")?.stanza();
    pool.leave_out(&["linux-image-cloud-amd64"]);
    let version = debian.get("Version").to_owned();
    let image = pool.take_like(|name| name.starts_with("linux-image-6"))?;
    let abi = abi(&image.stanza());
    pool.put(image);
    let plain = debian.without(&["Provides", "Built-Using", "Depends"]);
    let mut add = |name: &str, depends: &str| {
        let stanza = plain.clone().with("Package", name);
        let stanza = if depends.is_empty() { stanza } else { stanza.with("Depends", depends) };
        pool.put(Deb::empty(&stanza));
    };
    for (name, depends) in generic(&abi, &version) {
        add(&name, &depends);
    }
    for name in FIRMWARE {
        add(name, "");
    }
    add(&format!("linux-headers-{abi}-generic"), "");
    // Without a kernel in it: an image that gets this one does not boot.
    add(&format!("linux-image-{OLD_ABI}-generic"), "");
    add(&format!("linux-modules-extra-{OLD_ABI}-generic"), "");
    add(&format!("linux-headers-{OLD_ABI}-generic"), "");
    Ok(())
}

/// The metapackages and what each depends on.
fn generic(abi: &str, version: &str) -> [(String, String); 5] {
    let image = format!("linux-image-{abi}-generic");
    let both = |kind: &str| {
        format!("linux-image-{kind} (= {version}), linux-headers-generic (= {version})")
    };
    [
        (
            "linux-image-generic",
            format!("{image}, linux-modules-extra-{abi}-generic, {}", FIRMWARE.join(", ")),
        ),
        ("linux-image-virtual", image),
        ("linux-headers-generic", format!("linux-headers-{abi}-generic")),
        ("linux-generic", both("generic")),
        ("linux-virtual", both("virtual")),
    ]
    .map(|(name, depends)| (name.to_owned(), depends))
}

/// What a metapackage said before the release's updates.
pub(super) fn before(stanza: Stanza, version: &str) -> Stanza {
    let depends = stanza.get("Depends").to_owned();
    let old = depends.split(", ").map(|clause| match clause.split_once("-6.") {
        Some((kind, _)) => format!("{kind}-{OLD_ABI}-generic"),
        None => {
            clause.replace(&format!("(= {})", stanza.get("Version")), &format!("(= {version})"))
        }
    });
    let old = old.collect::<Vec<_>>().join(", ");
    stanza.with("Depends", &old)
}

/// Whether a package is of the kernel that came with the updates.
pub(super) fn is_new(package: &str) -> bool {
    let is_kernel = package.starts_with("linux-") && package.contains("-6.");
    is_kernel && !package.contains(&format!("-{OLD_ABI}-"))
}

/// `6.1.0-56` of linux-image-6.1.0-56-amd64.
fn abi(stanza: &Stanza) -> String {
    let name = stanza.get("Package").trim_start_matches("linux-image-");
    name.rsplit_once('-').map_or(name, |(abi, _)| abi).to_owned()
}
