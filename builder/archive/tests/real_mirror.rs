//! The archive that this machine's apt gets Debian from, read as a build would. Skipped, with the reason, where
//! there is none or the network does not reach it.

use std::{path::Path, time::Instant};

use coremax_archive::{
    Error, Freshness, Mirrors, Snapshot, distribution, host, keyring_of, sources_of,
};
use coremax_fetch::{Cache, Fetcher};
use coremax_skip::skip;

#[test]
fn debian_12_from_the_hosts_mirror() {
    let host = host::load(Path::new("/")).expect("the host's apt configuration is readable");
    let base = distribution("debian-12").expect("a row");
    let keys = keyring_of(base).expect("its keys");
    let main = match host.debian_mirror(base, &keys) {
        Ok(main) => main,
        Err(error @ (Error::NoMirror { .. } | Error::Scheme { .. })) => {
            return skip(error);
        }
        Err(error) => panic!("{error}"),
    };
    let security = host.debian_security_mirror(base, &keys).expect("a security archive or none");
    let mirrors = Mirrors { main, security };
    let mut sources = sources_of(base, &mirrors).expect("its suites");
    for source in &mut sources {
        source.check_valid_until = host.checks_valid_until(&source.mirror);
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let fetcher = Fetcher::new(Cache::open(dir.path()).expect("a cache"), host.transport);
    let begin = Instant::now();
    let snapshot = match Snapshot::open(&sources, &fetcher, &Freshness::default()) {
        Ok(snapshot) => snapshot,
        Err(Error::Fetch { what, source }) if source.is_unreachable() => {
            return skip(format_args!("{what}: {source}"));
        }
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
