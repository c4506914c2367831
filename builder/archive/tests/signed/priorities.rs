//! Which of two archives' versions is the candidate: apt is the oracle, on the same archives.

use std::{fs, path::Path};

use coremax_archive::{Request, Snapshot, Source, resolve};
use coremax_sandbox::{Cmd, Sandbox};

use crate::archive::{Archive, INDEX, always, fetcher, now};

/// What each archive's Release says of itself, the version it has, and the candidate.
const ROWS: &[([(&str, &str); 2], &str)] = &[
    ([("", "1"), ("", "2")], "2"),
    ([("", "1"), ("NotAutomatic: yes\nButAutomaticUpgrades: yes\n", "2")], "1"),
    ([("", "1"), ("NotAutomatic: yes\n", "2")], "1"),
    ([("NotAutomatic: yes\n", "2"), ("NotAutomatic: yes\nButAutomaticUpgrades: yes\n", "1")], "1"),
    ([("ButAutomaticUpgrades: yes\n", "2"), ("NotAutomatic: no\n", "1")], "1"),
    ([("NotAutomatic: yes\n", "1"), ("NotAutomatic: yes\n", "2")], "2"),
];

#[test]
fn the_candidate_is_apt_s() {
    for (archives, candidate) in ROWS {
        let archives = archives.map(|(extra, version)| {
            let archive = Archive::new();
            archive.publish(&INDEX.replace("2.10-3", version), now(), extra);
            archive
        });
        assert_eq!(ours(&archives, [None, None]), *candidate);
        match apts(&archives) {
            Ok(apts) => assert_eq!(apts, *candidate),
            Err(reason) => coremax_skip::skip(reason),
        }
    }
}

#[test]
fn a_pin_that_is_set_counts_more_than_the_release_s_own() {
    let archives = ["", "NotAutomatic: yes\n"].map(|extra| {
        let archive = Archive::new();
        let version = if extra.is_empty() { "1" } else { "2" };
        archive.publish(&INDEX.replace("2.10-3", version), now(), extra);
        archive
    });
    for (pins, version) in
        [([None, Some(500)], "2"), ([Some(1), None], "2"), ([Some(2), None], "1")]
    {
        assert_eq!(ours(&archives, pins), version, "{pins:?}");
    }
}

fn ours(archives: &[Archive; 2], pins: [Option<i32>; 2]) -> String {
    let cache = tempfile::tempdir().unwrap();
    let fetcher = fetcher(cache.path());
    let sources: Vec<_> =
        archives.iter().zip(pins).map(|(a, pin)| Source { pin, ..a.source() }).collect();
    let snapshot = Snapshot::open(&sources, &fetcher, &always()).unwrap();
    let universe = snapshot.load(&fetcher, &|_| ()).unwrap();
    let request = Request {
        install: vec!["hello".into()],
        architecture: "amd64".into(),
        ..Request::default()
    };
    resolve(&universe.packages, &request).unwrap().get("hello").unwrap().package.version.clone()
}

/// Fails with the reason where this host has no apt.
fn apts(archives: &[Archive]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let lines = archives.iter().map(|archive| {
        format!("deb [trusted=yes] file:{} tested main\n", archive.dir.path().display())
    });
    fs::create_dir_all(folder.path().join("lists/partial")).unwrap();
    fs::write(folder.path().join("sources.list"), lines.collect::<String>()).unwrap();
    fs::write(folder.path().join("status"), "").unwrap();
    apt(folder.path(), "apt-get", &["update"])?;
    let policy = apt(folder.path(), "apt-cache", &["policy", "hello"])?;
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    Ok(candidate.expect("apt knows hello").to_owned())
}

fn apt(folder: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
    let at = |name: &str| folder.join(name).display().to_string();
    let options = [
        format!("Dir::State::status={}", at("status")),
        format!("Dir::State::lists={}", at("lists")),
        format!("Dir::Cache={}", at("")),
        format!("Dir::Etc::sourcelist={}", at("sources.list")),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        "Dir::Etc::preferences=/dev/null".to_owned(),
        "Dir::Etc::preferencesparts=/dev/null".to_owned(),
        "APT::Architecture=amd64".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let options = options.into_iter().flat_map(|option| ["-o".to_owned(), option]);
    let command = Cmd::new(program, &Sandbox::host()).env("LC_ALL", "C").args(options);
    let out = command.args(arguments).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {arguments:?}: {said}");
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
