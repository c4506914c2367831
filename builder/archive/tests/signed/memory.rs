//! What is remembered of a mirror, so that it does not go back in time.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    slice,
    sync::{Arc, Barrier},
    thread,
};

use coremax_archive::{Error, Snapshot, Source};
use jiff::ToSpan as _;

use crate::archive::{Archive, INDEX, always, fetcher, now, open};

#[test]
fn a_mirror_does_not_go_back_in_time() {
    let archive = Archive::new();
    let cache = tempfile::tempdir().unwrap();
    let fetcher = fetcher(cache.path());
    open(&archive, &fetcher, &always()).unwrap();
    archive.publish(INDEX, now() - 48.hours(), "");
    let error = open(&archive, &fetcher, &always()).unwrap_err();
    assert!(matches!(error, Error::Rollback { .. }), "{error}");
    assert!(error.to_string().contains(&(now() - 48.hours()).to_string()[..10]), "{error}");
}

/// The login is no part of what a mirror is.
#[test]
fn a_new_login_forgets_nothing() {
    let archive = Archive::new();
    let cache = tempfile::tempdir().unwrap();
    let as_user = |login: &str| Source {
        mirror: format!("file://{login}{}", archive.dir.path().display()),
        ..archive.source()
    };
    let open = |login| Snapshot::open(&[as_user(login)], &fetcher(cache.path()), &always());
    open("apt:old@").unwrap();
    archive.publish(INDEX, now() - 48.hours(), "");
    for login in ["apt:old@", "apt:new@", "other@", ""] {
        let error = open(login).unwrap_err();
        assert!(matches!(error, Error::Rollback { .. }), "{login}: {error}");
    }
}

/// One build gets an old state, and before it stores that, another gets and stores a newer one.
#[test]
fn of_two_builds_at_once_the_newer_state_is_remembered() {
    let archive = Archive::new();
    let in_release = || fs::read(archive.suite().join("InRelease")).unwrap();
    archive.publish(INDEX, now() - 48.hours(), "");
    let old = in_release();
    archive.publish(INDEX, now(), "");
    let new = in_release();
    let cache = tempfile::tempdir().unwrap();
    let [asked, stored] = [(); 2].map(|()| Arc::new(Barrier::new(2)));
    let barriers = (asked.clone(), stored.clone());
    let mirror = serve(move |number| match number {
        0 => {
            barriers.0.wait();
            barriers.1.wait();
            old.clone()
        }
        1 => new.clone(),
        _ => old.clone(),
    });
    let source = Source { mirror, ..archive.source() };
    let open = || Snapshot::open(slice::from_ref(&source), &fetcher(cache.path()), &always());
    let [late, early] = thread::scope(|scope| {
        let late = scope.spawn(|| open().unwrap());
        asked.wait();
        let early = open();
        stored.wait();
        [late.join().unwrap(), early.unwrap()]
    });
    assert_eq!(
        late.releases()[0].date(),
        early.releases()[0].date(),
        "both are of the newer state"
    );
    let error = open().unwrap_err();
    assert!(matches!(error, Error::Rollback { .. }), "{error}");
}

/// A server that gives its request number `n` `answer(n)`; its address.
fn serve(answer: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let answer = answer.clone();
            thread::spawn(move || respond(&stream, &answer(number)));
        }
    });
    address
}

fn respond(mut stream: &TcpStream, file: &[u8]) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let length = file.len();
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
        .and_then(|()| stream.write_all(file))
        .unwrap();
}
