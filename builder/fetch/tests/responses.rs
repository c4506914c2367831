//! Whatever a server answers: no panic, no bound passed, and nothing in the cache but what was pinned.

// Helpers of a test may fail as the test itself does; clippy knows that of #[test] functions alone.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use coremax_fetch::{Cache, Digest, Fetcher, Got, Input, Transport};
use proptest::prelude::*;

const FILE: &[u8] = b"hello";

/// Serves these bytes to everyone who asks, and hangs up; its address.
fn serve(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // The client may hang up first, and asks at most as often as it follows redirects and begins anew.
    thread::spawn(move || {
        listener.incoming().flatten().take(30).for_each(|stream| respond(&stream, &answer));
    });
    url
}

fn respond(mut stream: &TcpStream, answer: &[u8]) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let _ = stream.write_all(answer);
}

fn check(answer: Vec<u8>) {
    let url = serve(answer);
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let fetcher = Fetcher::new(cache, Transport { attempts: 1, ..Transport::default() });
    if let Ok(Got::File(bytes, _)) = fetcher.get(&url, 4, None) {
        assert!(bytes.len() <= 4, "{} bytes", bytes.len());
    }
    let input =
        Input { name: "x".into(), url, others: Vec::new(), size: 5, digest: Digest::of(FILE) };
    fs::write(dir.path().join("partial").join(input.digest.to_string()), b"he").unwrap();
    if let Ok(paths) = fetcher.fetch_all(std::slice::from_ref(&input), &|_| ()) {
        assert_eq!(fs::read(&paths[0]).unwrap(), FILE);
    }
    assert_eq!(
        fetcher.cache().find(&input).map(|path| fs::read(path).unwrap()).unwrap_or(FILE.into()),
        FILE
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes(answer: Vec<u8>) {
        check(answer);
    }

    #[test]
    fn answers_that_are_nearly_right(
        status in "200|206|301|304|416|[0-9]{1,4}",
        headers in prop::collection::vec(
            "Content-Length: (5|3|-1|[0-9]{1,25})|Content-Range: bytes (2-4/5|[0-9*-]{0,8}/[0-9*]{0,22})|Location: [!-~]{0,20}\
             |Transfer-Encoding: chunked|ETag: [ -~]{0,9}|[A-Za-z -]{0,9}:?[ -~]{0,9}", 0..4),
        body in "hello|llo|5\r\nhello\r\n0\r\n\r\n|[a-f0-9]{1,20}\r\n|.{0,20}",
    ) {
        let head = format!("HTTP/1.1 {status} x\r\n{}\r\n\r\n", headers.join("\r\n"));
        check([head.as_bytes(), body.as_bytes()].concat());
    }
}
