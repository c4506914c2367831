//! The archive that this machine's apt gets Debian from, read as a build would. Skipped, with the reason, where
//! there is none or the network does not reach it.

use std::{path::Path, time::Instant};

use coremax_archive::{Error, Freshness, Snapshot, distribution, host};
use coremax_fetch::{Cache, Fetcher};

#[test]
fn debian_12_from_the_hosts_mirror() {
    let host = host::load(Path::new("/")).expect("the host's apt configuration is readable");
    let mirrors = match host.debian_mirrors() {
        Ok(mirrors) => mirrors,
        Err(error) => return println!("skipped: {error}"),
    };
    let mut sources = distribution("debian-12").and_then(|d| d.sources(&mirrors)).expect("a row");
    for source in &mut sources {
        source.check_valid_until = host.checks_valid_until(&source.mirror);
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let fetcher = Fetcher::new(Cache::open(dir.path()).expect("a cache"), host.transport);
    let begin = Instant::now();
    let snapshot = match Snapshot::open(&sources, &fetcher, &Freshness::default()) {
        Ok(snapshot) => snapshot,
        Err(Error::Fetch { what, source }) => return println!("skipped: {what}: {source}"),
        Err(error) => panic!("{error}"),
    };
    println!("releases verified in {:?}", begin.elapsed());
    assert_eq!(snapshot.releases()[0].codename(), "bookworm");
    fetcher.fetch_all(&snapshot.inputs(), &|_| ()).expect("the indexes that the Release names");

    let begin = Instant::now();
    let universe = snapshot.load(&fetcher, &|_| ()).expect("well-formed indexes");
    println!("{} packages read in {:?}", universe.packages.len(), begin.elapsed());
    assert!(universe.packages.len() > 60_000);
    let bash = universe.packages.iter().find(|p| p.name == "bash").expect("bash is there");
    assert!(bash.essential && bash.filename.starts_with("pool/main/b/bash/bash_"));
    assert!(universe.input(bash).url.starts_with(mirrors.main.trim_end_matches('/')));

    let begin = Instant::now();
    let offline = Freshness { offline: true, ..Freshness::default() };
    let again = Snapshot::open(&sources, &fetcher, &offline).expect("what was kept");
    println!("verified again, offline, in {:?}", begin.elapsed());
    assert_eq!(again.digest(), universe.digest);
}
