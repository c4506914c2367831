//! Which package is in which suite and component, and the files that say so.
//!
//! Fields are Ubuntu's: <https://wiki.debian.org/DebianRepository/Format> and
//! <https://wiki.ubuntu.com/StableReleaseUpdates#Phasing>.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
};

use coremax_fetch::Digest;
use jiff::{Timestamp, ToSpan as _};
use md5::Digest as _;

use super::{kernel, pool::Pool};
use crate::{
    Outcome,
    deb::{Deb, Members, Stanza},
    mirror::Signer,
};

/// A suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// The release as it was, and stays.
    Release,
    /// Its updates.
    Updates,
    /// Its security updates.
    Security,
}

/// The suites by name, and what each says of itself.
pub const SUITES: [(Suite, &str, &str); 3] = [
    (Suite::Release, "jammy", "Ubuntu Jammy 22.04"),
    (Suite::Updates, "jammy-updates", "Ubuntu Jammy Updates"),
    (Suite::Security, "jammy-security", "Ubuntu Jammy Security"),
];
/// All components; the last two are empty.
pub const COMPONENTS: [&str; 4] = ["main", "universe", "restricted", "multiverse"];
/// What Ubuntu has in universe, as far as it matters that a recipe's packages come from there too.
const UNIVERSE: [&str; 11] = [
    "cephadm",
    "crudini",
    "docker.io",
    "e2fsck-static",
    "ipmitool",
    "iperf3",
    "mstflint",
    "python3-docker",
    "python3-rich",
    "rasdaemon",
    "skopeo",
];
/// Writes a digest in hex.
type Sum = fn(&[u8]) -> String;

/// By what a Release names its indexes; of these, only the last is believed.
const DIGESTS: [(&str, Sum); 3] = [
    ("MD5Sum", |bytes| hex(&md5::Md5::digest(bytes))),
    ("SHA1", |bytes| hex(&sha1::Sha1::digest(bytes))),
    ("SHA256", |bytes| Digest::of(bytes).to_string()),
];
/// When the release was made.
const RELEASED: &str = "Thu, 21 Apr 2022 17:16:08 UTC";

/// A package that has another version since the release.
#[derive(Debug)]
pub struct Update {
    /// The package.
    pub name: &'static str,
    /// The suites with the new version.
    pub suites: &'static [Suite],
    /// How many of 100 machines get it from the updates.
    pub phased: Option<u8>,
}

const UPDATED: &[Suite] = &[Suite::Updates];
const SECURED: &[Suite] = &[Suite::Updates, Suite::Security];

/// All of them; the kernel that the metapackages lead to now came with them, and all other packages are the release's
/// alone.
pub const UPDATES: &[Update] = &[
    Update { name: "ca-certificates", suites: UPDATED, phased: None },
    Update { name: "e2fsck-static", suites: SECURED, phased: None },
    Update { name: "iproute2", suites: SECURED, phased: Some(30) },
    Update { name: "less", suites: UPDATED, phased: Some(10) },
    Update { name: "netbase", suites: UPDATED, phased: Some(0) },
    Update { name: "openssl", suites: &[Suite::Security], phased: None },
    Update { name: "linux-generic", suites: SECURED, phased: None },
    Update { name: "linux-headers-generic", suites: SECURED, phased: None },
    Update { name: "linux-image-generic", suites: SECURED, phased: None },
    Update { name: "linux-image-virtual", suites: SECURED, phased: None },
    Update { name: "linux-virtual", suites: SECURED, phased: None },
];

/// The indexes by suite and component.
type Indexes = BTreeMap<(Suite, &'static str), Vec<Stanza>>;

/// Writes the archive below `root`.
pub(super) fn write(pool: Pool, signer: &Signer, root: &Path) -> Outcome {
    let debs = Mutex::new(pool.into_debs());
    let indexes = Mutex::new(Indexes::new());
    let work = || -> Outcome {
        loop {
            let next = debs.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(deb) = next else { return Ok(()) };
            let offered = offer(deb()?, root)?;
            let mut indexes = indexes.lock().unwrap_or_else(PoisonError::into_inner);
            for (suite, component, stanza) in offered {
                indexes.entry((suite, component)).or_default().push(stanza);
            }
        }
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    let indexes = indexes.into_inner().unwrap_or_else(PoisonError::into_inner);
    SUITES.iter().try_for_each(|suite| write_suite(suite, &indexes, signer, root))
}

/// Writes a package's versions into the pool, and says where each is offered.
fn offer(deb: Deb, root: &Path) -> Result<Vec<(Suite, &'static str, Stanza)>, String> {
    let name = deb.stanza().get("Package").to_owned();
    let component = if UNIVERSE.contains(&name.as_str()) { "universe" } else { "main" };
    if kernel::is_new(&name) {
        let new = write_deb(&deb, component, root)?;
        return Ok(SECURED.iter().map(|&suite| (suite, component, new.clone())).collect());
    }
    let Some(update) = UPDATES.iter().find(|update| update.name == name) else {
        return Ok(vec![(Suite::Release, component, write_deb(&deb, component, root)?)]);
    };
    let new = write_deb(&deb, component, root)?;
    let old = write_deb(&before(deb), component, root)?;
    let phased = |suite| update.phased.filter(|_| suite == Suite::Updates);
    let offered = update.suites.iter().map(|&suite| match phased(suite) {
        Some(percent) => {
            let new = new.clone().with("Phased-Update-Percentage", &percent.to_string());
            (suite, component, new)
        }
        None => (suite, component, new.clone()),
    });
    Ok(offered.chain([(Suite::Release, component, old)]).collect())
}

/// The version that the release had.
fn before(mut deb: Deb) -> Deb {
    let stanza = deb.stanza();
    let version = format!("{}~jammy", stanza.get("Version"));
    let is_kernel = stanza.get("Package").starts_with("linux-");
    let stanza = if is_kernel { kernel::before(stanza, &version) } else { stanza };
    deb.set_stanza(&stanza.with("Version", &version));
    deb
}

/// Writes a .deb; its stanza in an index.
fn write_deb(deb: &Deb, component: &str, root: &Path) -> Result<Stanza, String> {
    let stanza = deb.stanza();
    let [name, version, architecture] =
        ["Package", "Version", "Architecture"].map(|field| stanza.get(field).to_owned());
    let source = stanza.get("Source").split(' ').next().unwrap_or_default().to_owned();
    let source = if source.is_empty() { name.clone() } else { source };
    let prefix = if source.starts_with("lib") { 4 } else { 1 };
    let version = version.split_once(':').map_or(version.as_str(), |(_, version)| version);
    let folder = format!("pool/{component}/{}/{source}", &source[..prefix.min(source.len())]);
    let path = format!("{folder}/{name}_{version}_{architecture}.deb");
    let bytes = deb.write(Members::Zstd);
    put(root, &path, &bytes)?;
    let section = match component {
        "universe" => format!("universe/{}", stanza.get("Section")),
        _ => stanza.get("Section").to_owned(),
    };
    Ok(stanza
        .with("Section", &section)
        .with("Origin", "Ubuntu")
        .with("Bugs", "https://bugs.launchpad.net/ubuntu/+filebug")
        .with("Filename", &path)
        .with("Size", &bytes.len().to_string())
        .with("SHA256", &Digest::of(&bytes).to_string()))
}

/// Writes a suite's indexes, by name and by hash, and its signed Release.
fn write_suite(
    (suite, name, description): &(Suite, &'static str, &str),
    indexes: &Indexes,
    signer: &Signer,
    root: &Path,
) -> Outcome {
    let mut listed = DIGESTS.map(|(digest, _)| format!("{digest}:\n"));
    for component in COMPONENTS {
        let stanzas = indexes.get(&(*suite, component)).map_or(&[][..], Vec::as_slice);
        let mut stanzas: Vec<_> = stanzas.iter().map(|stanza| format!("{stanza}\n")).collect();
        stanzas.sort();
        let folder = format!("{component}/binary-amd64");
        for (end, bytes) in forms(stanzas.concat().as_bytes())? {
            // Ubuntu lists the plain one, and has it not.
            let is_there = !end.is_empty();
            let put = |path: &str| put(root, &format!("dists/{name}/{folder}/{path}"), &bytes);
            if is_there {
                put(&format!("Packages{end}"))?;
            }
            for (lines, (kind, digest)) in listed.iter_mut().zip(DIGESTS) {
                let digest = digest(&bytes);
                *lines += &format!(" {digest} {:>16} {folder}/Packages{end}\n", bytes.len());
                if is_there {
                    put(&format!("by-hash/{kind}/{digest}"))?;
                }
            }
        }
    }
    let date = match suite {
        Suite::Release => RELEASED.to_owned(),
        _ => (Timestamp::now() - 1.hours()).strftime("%a, %d %b %Y %H:%M:%S UTC").to_string(),
    };
    let release = format!(
        "Origin: Ubuntu\nLabel: Ubuntu\nSuite: {name}\nVersion: 22.04\nCodename: jammy\nDate: {date}\n\
         Architectures: amd64 arm64 armhf i386 ppc64el riscv64 s390x\nComponents: main restricted universe multiverse\n\
         Description: {description}\n{}Acquire-By-Hash: yes\n",
        listed.concat()
    );
    put(root, &format!("dists/{name}/InRelease"), signer.sign(&release).as_bytes())
}

/// An index in each of its forms, with the end of its name.
fn forms(text: &[u8]) -> Result<[(&'static str, Vec<u8>); 3], String> {
    let fast = flate2::Compression::fast();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), fast);
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    gzip.write_all(text).and_then(|()| xz.write_all(text)).map_err(|e| e.to_string())?;
    let [gzip, xz] = [gzip.finish(), xz.finish()].map(|packed| packed.map_err(|e| e.to_string()));
    Ok([("", text.to_vec()), (".gz", gzip?), (".xz", xz?)])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn put(root: &Path, path: &str, bytes: &[u8]) -> Outcome {
    let path = root.join(path);
    let folder = path.parent().unwrap_or(root);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes));
    written.map_err(|e| format!("writing {}: {e}", path.display()))
}
