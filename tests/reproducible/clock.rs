//! A clock that is a year ahead for maintainer scripts too, on the other host alone.
//!
//! The sandbox lets no variable in, and a namespace cannot shift the time of day: so the image has one more package, the same
//! on both hosts, with a library that every program in the root loads and that looks at what differs between the hosts. Its
//! own script says what time it is, into the log beside the root. Files are still stamped by the kernel's clock.

use std::{fs, path::Path};

use coremax_fetch::Digest;
use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{
    Outcome,
    deb::{Deb, Members, Stanza},
    expect, failed, files,
    mirror::Signer,
};
use jiff::{Timestamp, ToSpan as _};

/// The package.
pub(crate) const NAME: &str = "coremax-tests-clock";
const LIBRARY: &str = "usr/lib/coremax-tests/clock.so";
/// What a program loads before anything else, see ld.so(8).
const PRELOAD: &str = "etc/ld.so.preload";
const SAYS: &str = "the time of the scripts is ";
const ARCHIVE: &str = "clock";
/// The key that signs it.
pub(crate) const KEY: &str = "clock.asc";

/// Makes the package, and an archive of it in this folder.
///
/// # Errors
/// A skip where there is no compiler of C; whatever else stands in the way.
pub(crate) fn make(folder: &Path) -> Outcome {
    let deb = package(folder)?.write(Members::Plain);
    let path = format!("pool/{NAME}.deb");
    let index = format!(
        "Package: {NAME}\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: x\nInstalled-Size: 32\n\
         Filename: {path}\nSize: {}\nSHA256: {}\n\n",
        deb.len(),
        Digest::of(&deb)
    );
    let date = (Timestamp::now() - 1.hours()).strftime("%a, %d %b %Y %H:%M:%S UTC");
    let release = format!(
        "Origin: Test\nSuite: {ARCHIVE}\nCodename: {ARCHIVE}\nDate: {date}\nArchitectures: amd64\nComponents: main\n\
         SHA256:\n {} {} main/binary-amd64/Packages\n",
        Digest::of(&index),
        index.len()
    );
    let signer = Signer::new();
    let suite = format!("dists/{ARCHIVE}");
    for (path, bytes) in [
        (path, deb),
        (format!("{suite}/main/binary-amd64/Packages"), index.into_bytes()),
        (format!("{suite}/InRelease"), signer.sign(&release).into_bytes()),
        (KEY.to_owned(), signer.public()),
    ] {
        let path = folder.join(path);
        let made = fs::create_dir_all(path.parent().unwrap_or(folder));
        made.and_then(|()| fs::write(&path, bytes)).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// What a recipe says of the archive, with the key beside its folder.
pub(crate) fn archive(folder: &Path) -> String {
    let mirror = coremax_fetch::file_url(folder);
    format!(
        "\n[[archive]]\nname = \"{ARCHIVE}\"\nmirror = \"{mirror}\"\nsuites = [\"{ARCHIVE}\"]\nkey = \"{KEY}\"\n"
    )
}

/// The seconds since 1970 that maintainer scripts saw in the builds of this cache, if they were of the package.
pub(crate) fn seen(cache: &Path) -> Result<u64, String> {
    let logs = files(&cache.join("store"));
    let logs = logs.iter().filter(|path| path.ends_with("configure.log"));
    let texts = logs.filter_map(|log| fs::read_to_string(log).ok());
    let said = texts.filter_map(|text| text.split_once(SAYS)?.1.lines().next()?.parse().ok());
    said.max().ok_or_else(|| "no script said what time it was".into())
}

fn package(folder: &Path) -> Result<Deb, String> {
    let control = format!(
        "Package: {NAME}\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: x\n"
    );
    let mut deb = Deb::empty(&Stanza::parse(&control));
    deb.data.put(LIBRARY, 0o755, &library(folder)?);
    deb.data.put(PRELOAD, 0o644, format!("/{LIBRARY}\n").as_bytes());
    let script = format!("#!/bin/sh\nset -e\necho \"{SAYS}$(date +%s)\"\n");
    deb.control.put("postinst", 0o755, script.as_bytes());
    Ok(deb)
}

fn library(folder: &Path) -> Result<Vec<u8>, String> {
    let (source, made) = (folder.join("clock.c"), folder.join("clock.so"));
    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    fs::write(&source, include_str!("clock.c")).map_err(|e| e.to_string())?;
    let compiler = Cmd::new("cc", &Sandbox::host()).args(["-O2", "-shared", "-fPIC", "-o"]);
    compiler.arg(&made).arg(&source).run().map_err(|e| failed(&e, "gcc, libc6-dev"))?;
    let bytes = fs::read(&made).map_err(|e| e.to_string())?;
    expect(!bytes.is_empty(), || "the compiler made nothing".into())?;
    Ok(bytes)
}
