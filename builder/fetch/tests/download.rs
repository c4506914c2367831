//! Downloads from a server that behaves, and from servers that do not.

// Helpers of a test may fail as the test itself does; clippy knows that of #[test] functions alone.
#![allow(clippy::unwrap_used)]

mod server;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use coremax_fetch::{
    Cache, Digest, Error, Fetcher, Got, Input, Login, ProxyRules, Secret, Transport,
};
use server::{Reply, Server};

/// Long enough to be cut in the middle, and not one repeated byte.
fn file() -> Vec<u8> {
    (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn input(server: &Server, path: &str, file: &[u8]) -> Input {
    Input {
        name: "hello 1.0".into(),
        url: format!("{}{path}", server.url),
        others: Vec::new(),
        size: file.len() as u64,
        digest: Digest::of(file),
    }
}

/// Retries soon, so that tests need not wait.
fn eager() -> Transport {
    Transport { attempts: 3, pause: Duration::from_millis(1), ..Transport::default() }
}

fn fetcher(dir: &Path) -> Fetcher {
    Fetcher::new(Cache::open(dir).unwrap(), eager())
}

fn fetch(dir: &Path, input: &Input) -> Result<Vec<u8>, Error> {
    let paths = fetcher(dir).fetch_all(std::slice::from_ref(input), &|_| ())?;
    Ok(fs::read(&paths[0]).unwrap())
}

#[test]
fn good_and_bad_days_of_a_server_end_in_the_whole_file() {
    let file = file();
    let busy = || Reply::Status(503, String::new());
    let half = file.len() / 2;
    for (day, replies, requests) in [
        ("whole", vec![Reply::File(file.clone())], 1),
        ("cut", vec![Reply::Cut(file.clone(), half), Reply::File(file.clone())], 2),
        (
            "cut often",
            vec![
                Reply::Cut(file.clone(), 200_000),
                Reply::Cut(file.clone(), 200_000),
                Reply::Cut(file.clone(), 200_000),
                Reply::Cut(file.clone(), 200_000),
                Reply::File(file.clone()),
            ],
            5,
        ),
        ("busy", vec![busy(), busy(), Reply::File(file.clone())], 3),
        ("no range", vec![Reply::Cut(file.clone(), half), Reply::WithoutRange(file.clone())], 2),
    ] {
        let server = Server::start([("/hello.deb", replies)]);
        let dir = tempfile::tempdir().unwrap();
        let got = fetch(dir.path(), &input(&server, "/hello.deb", &file)).unwrap();
        assert!(got == file, "{day}");
        assert_eq!(server.requests().len(), requests, "{day}: {:?}", server.requests());
        let resumed = server.requests().iter().any(|request| request.contains("bytes="));
        assert_eq!(resumed, !["whole", "busy"].contains(&day), "{day}: {:?}", server.requests());
    }
}

#[test]
fn a_stalled_server_is_asked_again_for_the_rest() {
    let file = file();
    let replies = vec![Reply::Stall(file.clone(), file.len() / 2), Reply::File(file.clone())];
    let server = Server::start([("/a", replies), ("/b", vec![Reply::Stall(file.clone(), 0)])]);
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let transport = Transport { stall: Duration::from_millis(500), attempts: 2, ..eager() };
    let fetcher = Fetcher::new(cache, transport);
    let paths = fetcher.fetch_all(&[input(&server, "/a", &file)], &|_| ()).unwrap();
    assert!(fs::read(&paths[0]).unwrap() == file);
    let never = input(&server, "/b", &file[1..]);
    let error =
        fetcher.fetch_all(&[Input { size: file.len() as u64, ..never }], &|_| ()).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    let Error::GaveUp { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, Error::Stalled { .. }), "{source}");
}

#[test]
fn every_byte_is_told_once_however_often_the_transfer_breaks() {
    let file = file();
    let replies = vec![Reply::Cut(file.clone(), 500_000), Reply::WithoutRange(file.clone())];
    let server = Server::start([("/a", replies)]);
    let dir = tempfile::tempdir().unwrap();
    let fetcher = fetcher(dir.path());
    let input = input(&server, "/a", &file);
    let inputs = [input.clone(), input];
    assert_eq!(fetcher.cache().missing(&inputs), file.len() as u64);
    for told in [file.len() as u64, 0] {
        let sum = AtomicU64::new(0);
        fetcher
            .fetch_all(&inputs, &|n| {
                sum.fetch_add(n, Ordering::Relaxed);
            })
            .unwrap();
        assert_eq!(sum.into_inner(), told);
    }
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_liar_is_refused_at_once_with_both_digests() {
    let file = file();
    let mut lie = file.clone();
    lie[5] ^= 1;
    let server = Server::start([
        ("/lie", vec![Reply::File(lie.clone())]),
        ("/long", vec![Reply::File([&file[..], b"x"].concat())]),
        ("/cut-lie", vec![Reply::Cut(lie, 400_000), Reply::File(file.clone())]),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let error = fetch(dir.path(), &input(&server, "/lie", &file)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Digest { .. }) && error.hint().is_some(), "{text}");
    assert!(text.contains("hello 1.0") && text.contains(&Digest::of(&file).to_string()), "{text}");
    assert!(fs::read_dir(dir.path().join("partial")).unwrap().next().is_none());
    let error = fetch(dir.path(), &input(&server, "/long", &file)).unwrap_err();
    assert!(matches!(error, Error::Size { got: 1_200_001, .. }), "{error}");
    assert_eq!(server.requests().len(), 2, "no second attempt");
    // Two servers behind one name, of which the first lied: begun again from the start.
    assert!(fetch(dir.path(), &input(&server, "/cut-lie", &file)).unwrap() == file);
}

fn twenty_times(replies: &[Reply]) -> Vec<Reply> {
    replies.iter().cycle().take(20 * replies.len()).cloned().collect()
}

#[test]
fn who_lies_or_begins_anew_for_ever_is_given_up() {
    let file = file();
    let mut lie = file.clone();
    lie[1_000_000] ^= 1;
    let (long, short) = (file.len() / 2, file.len() / 4);
    let cuts =
        [Reply::CutWithoutRange(file.clone(), short), Reply::CutWithoutRange(file.clone(), long)];
    let lies = [Reply::Cut(file.clone(), long), Reply::File(lie)];
    let server = Server::start([("/cuts", twenty_times(&cuts)), ("/lies", twenty_times(&lies))]);
    let dir = tempfile::tempdir().unwrap();
    let error = fetch(dir.path(), &input(&server, "/cuts", &file)).unwrap_err();
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    let before = server.requests().len();
    assert!(before < 10, "{before}");
    let other = tempfile::tempdir().unwrap();
    let error = fetch(other.path(), &input(&server, "/lies", &file)).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    assert_eq!(server.requests().len() - before, 4, "begun anew once");
}

#[test]
fn what_a_killed_build_left_is_resumed() {
    let file = file();
    let server = Server::start([("/a", vec![Reply::File(file.clone())])]);
    let input = input(&server, "/a", &file);
    for (left, request) in [
        (&file[..1000], "/a bytes=1000-"),
        (&b"something else"[..], "/a"),
        (&[&file[..], b"too long"].concat()[..], "/a"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        Cache::open(dir.path()).unwrap();
        fs::write(dir.path().join("partial").join(input.digest.to_string()), left).unwrap();
        assert!(fetch(dir.path(), &input).unwrap() == file);
        assert_eq!(server.requests().last().unwrap(), request);
    }
}

#[test]
fn a_damaged_cache_file_is_fetched_again() {
    let file = file();
    let server = Server::start([("/a", vec![Reply::File(file.clone())])]);
    let input = input(&server, "/a", &file);
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    fetch(dir.path(), &input).unwrap();
    let mut flipped = file.clone();
    flipped[77] ^= 1;
    for damaged in [&file[..100], &flipped] {
        let path = cache.path(&input.digest);
        fs::remove_file(&path).unwrap();
        fs::write(&path, damaged).unwrap();
        assert!(fetch(dir.path(), &input).unwrap() == file);
    }
}

#[test]
fn two_builds_fetch_the_same_file_once() {
    let file = file();
    let server = Server::start([("/a", vec![Reply::File(file.clone())])]);
    let input = input(&server, "/a", &file);
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        let builds: Vec<_> =
            (0..4).map(|_| scope.spawn(|| fetch(dir.path(), &input).unwrap() == file)).collect();
        assert!(builds.into_iter().all(|build| build.join().unwrap()));
    });
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_read_only_cache_serves_what_it_has_and_says_what_it_lacks() {
    let file = file();
    let server = Server::start([("/a", vec![Reply::File(file.clone())])]);
    let dir = tempfile::tempdir().unwrap();
    fetch(dir.path(), &input(&server, "/a", &file)).unwrap();
    let lacking = input(&server, "/b", b"other");
    let fetcher = fetcher(dir.path());
    // Root may write to any folder, so this one is not merely made read-only: it is not there.
    fs::remove_dir(dir.path().join("partial")).unwrap();
    assert!(fetcher.fetch_all(&[input(&server, "/a", &file)], &|_| ()).is_ok());
    let error = fetcher.fetch_all(&[lacking], &|_| ()).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }) && error.hint().is_some(), "{error}");
}

#[test]
fn refusals_are_final_and_carry_hints() {
    let moved = |to: &str| Reply::Status(302, format!("Location: {to}"));
    let server = Server::start([
        ("/missing", vec![Reply::Status(404, String::new())]),
        ("/busy", vec![Reply::Status(503, String::new())]),
        ("/round", vec![moved("/round")]),
        ("/ftp", vec![moved("ftp://mirror.example/")]),
        ("/private", vec![Reply::Private(b"x".to_vec(), "no one's")]),
    ]);
    let dir = tempfile::tempdir().unwrap();
    for (path, requests, message) in [
        ("/missing", 1, "the server answers 404"),
        ("/busy", 3, "gave up after 3 attempts"),
        ("/round", 11, "is not followed"),
        ("/ftp", 1, "ftp://mirror.example/"),
        ("/private", 1, "the server answers 401"),
    ] {
        let before = server.requests().len();
        let error = fetch(dir.path(), &input(&server, path, b"x")).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(server.requests().len() - before, requests, "{path}");
    }
}

#[test]
fn only_who_is_not_there_is_unreachable() {
    let replies = |reply| vec![Reply::Status(reply, String::new())];
    let server = Server::start([("/missing", replies(404)), ("/busy", replies(503))]);
    let [missing, busy] = ["/missing", "/busy"].map(|path| format!("{}{path}", server.url));
    let nobody = "http://127.0.0.1:1/".to_owned();
    for (url, unreachable) in [(missing, false), (busy, false), (nobody, true)] {
        let dir = tempfile::tempdir().unwrap();
        let error = fetcher(dir.path()).get(&url, 1, None).unwrap_err();
        assert_eq!(error.is_unreachable(), unreachable, "{error}");
    }
}

#[test]
fn redirects_logins_and_proxies() {
    let file = file();
    let login = "Basic YXB0OmRlYmlhbg==";
    let server = Server::start([
        ("/a", vec![Reply::Status(302, "Location: b/c".into())]),
        ("/b/c", vec![Reply::Private(file.clone(), login)]),
        ("http://mirror.example/a?b", vec![Reply::File(file.clone())]),
    ]);
    let machine = server.url.strip_prefix("http://").unwrap().to_owned();
    let login = Login {
        scheme: "http".into(),
        machine: machine.clone(),
        path: "/b".into(),
        user: "apt".into(),
        password: Secret("debian".into()),
    };
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let transport = Transport { logins: vec![login], ..eager() };
    let with_login = Fetcher::new(cache.clone(), transport);
    with_login.fetch_all(&[input(&server, "/a", &file)], &|_| ()).unwrap();
    let mut other = input(&server, "/b/c", &file);
    other.url = format!("http://apt:debian@{machine}/b/c");
    fs::remove_file(cache.path(&other.digest)).unwrap();
    fetch(dir.path(), &other).unwrap();
    other.url = "http://mirror.example/a?b".into();
    fs::remove_file(cache.path(&other.digest)).unwrap();
    let proxies = ProxyRules { http: Some(server.url.clone()), ..ProxyRules::default() };
    let by_proxy = Fetcher::new(cache, Transport { proxies, ..eager() });
    by_proxy.fetch_all(&[other], &|_| ()).unwrap();
    assert_eq!(server.requests().last().unwrap(), "http://mirror.example/a?b");
}

#[test]
fn local_mirrors() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a b"), b"hello").unwrap();
    let url = format!("file:{}/a b", dir.path().display());
    let input =
        Input { name: "a".into(), url, others: Vec::new(), size: 5, digest: Digest::of("hello") };
    assert_eq!(fetch(&dir.path().join("cache"), &input).unwrap(), b"hello");
    let got = fetcher(dir.path()).get(&input.url, 5, None).unwrap();
    assert!(matches!(got, Got::File(bytes, _) if bytes == b"hello"));
    let error = fetcher(dir.path()).get(&format!("{}c", input.url), 5, None).unwrap_err();
    assert!(matches!(error, Error::Status { status: 404, .. }));
}

#[test]
fn small_files_are_bounded_and_asked_for_conditionally() {
    let server = Server::start([("/InRelease", vec![Reply::Tagged(b"signed".to_vec(), "\"1\"")])]);
    let dir = tempfile::tempdir().unwrap();
    let fetcher = fetcher(dir.path());
    let url = format!("{}/InRelease", server.url);
    let Got::File(bytes, validator) = fetcher.get(&url, 6, None).unwrap() else { panic!() };
    assert_eq!(bytes, b"signed");
    assert_eq!(fetcher.get(&url, 6, Some(&validator)).unwrap(), Got::Unchanged);
    assert!(matches!(fetcher.get(&url, 5, None), Err(Error::TooLong { limit: 5, .. })));
}

/// The first place has it no longer, the second neither, the third does.
#[test]
fn other_places_are_asked_for_what_one_does_not_have() {
    let file = file();
    let missing = || vec![Reply::Status(404, String::new())];
    let gone = || Server::start([("/a", missing()), ("/b", missing())]);
    let dir = tempfile::tempdir().unwrap();
    let beside = dir.path().join("beside");
    fs::write(&beside, &file).unwrap();
    let here = format!("file://{}", beside.display());
    let (first, second) = (gone(), gone());
    let wanted = Input {
        others: vec![format!("{}/b", second.url), here.clone()],
        ..input(&first, "/a", &file)
    };
    assert_eq!(fetch(&dir.path().join("one"), &wanted).unwrap(), file);

    let (first, second) = (gone(), gone());
    let wanted = Input { others: vec![format!("{}/b", second.url)], ..input(&first, "/a", &file) };
    let error = fetch(&dir.path().join("two"), &wanted).unwrap_err();
    assert!(matches!(&error, Error::Gone { tried, .. } if tried.len() == 2), "{error}");
    assert!(error.to_string().contains("hello 1.0"), "{error}");

    fs::write(&beside, "another").unwrap();
    let wanted = Input { others: vec![here], ..input(&gone(), "/a", &file) };
    let error = fetch(&dir.path().join("three"), &wanted).unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, Error::NoPlace { .. }), "{error}");
    assert!(told.contains("answers 404") && told.contains("wanted 1200000 bytes"), "{told}");

    let nowhere = Input { url: String::new(), ..wanted };
    let error = fetch(&dir.path().join("four"), &nowhere).unwrap_err();
    assert!(matches!(error, Error::Nowhere { .. }), "{error}");
}

/// A mirror may be switched off, refuse, or have other bytes of the same length: the next place has the right ones.
#[test]
fn other_places_are_asked_where_one_is_no_good() {
    let file = file();
    let other = file.iter().map(|byte| byte ^ 1).collect::<Vec<_>>();
    for (day, replies, asked) in [
        ("forbidden", vec![Reply::Status(403, String::new())], 1),
        ("always busy", (0..3).map(|_| Reply::Status(503, String::new())).collect(), 3),
        ("other bytes", vec![Reply::File(other)], 1),
    ] {
        let first = Server::start([("/a", replies)]);
        let second = Server::start([("/b", vec![Reply::File(file.clone())])]);
        let dir = tempfile::tempdir().unwrap();
        let others = vec![format!("{}/b", second.url)];
        let wanted = Input { others, ..input(&first, "/a", &file) };
        assert_eq!(fetch(dir.path(), &wanted).unwrap(), file, "{day}");
        assert_eq!((first.requests().len(), second.requests().len()), (asked, 1), "{day}");
    }
}

/// A refusal, as of a login that expired, costs nothing that has come.
#[test]
fn what_has_come_outlives_a_refusal_and_goes_on_elsewhere() {
    let file = file();
    let half = file.len() / 2;
    let refused = || vec![Reply::Cut(file.clone(), half), Reply::Status(407, String::new())];
    let dir = tempfile::tempdir().unwrap();
    let first = Server::start([("/a", refused())]);
    let error = fetch(dir.path(), &input(&first, "/a", &file)).unwrap_err();
    assert!(matches!(error, Error::Status { status: 407, .. }), "{error}");
    let longer = Server::start([("/b", vec![Reply::WithoutRange([&file[..], b"more"].concat())])]);
    let third = Server::start([("/c", vec![Reply::File(file.clone())])]);
    let others = vec![format!("{}/b", longer.url), format!("{}/c", third.url)];
    let wanted = Input { others, ..input(&first, "/a", &file) };
    assert_eq!(fetch(dir.path(), &wanted).unwrap(), file);
    assert_eq!(third.requests(), [format!("/c bytes={half}-")]);
}

/// One that was given up is not waited for again while there are others.
#[test]
fn a_dead_place_is_asked_last() {
    let file = file();
    let second: Vec<u8> = file.iter().rev().copied().collect();
    let busy = || (0..3).map(|_| Reply::Status(503, String::new())).collect::<Vec<_>>();
    let dead = Server::start([("/a", busy()), ("/b", busy())]);
    let alive = Server::start([
        ("/a", vec![Reply::File(file.clone())]),
        ("/b", vec![Reply::File(second.clone())]),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let fetcher = fetcher(dir.path());
    for (path, file) in [("/a", &file), ("/b", &second)] {
        let others = vec![format!("{}{path}", alive.url)];
        let wanted = Input { others, ..input(&dead, path, file) };
        fetcher.fetch_all(&[wanted], &|_| ()).unwrap();
    }
    assert_eq!(dead.requests(), ["/a"; 3]);
}
