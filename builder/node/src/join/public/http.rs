//! A request of HTTP/1.1, and its answer: pure.

use coremax_node_api::{
    cluster_status::{ClusterStatus, Wait, word},
    join::Phase,
};

/// Bytes of a request's head, at most. Set here: a browser's has two kilobytes.
pub(super) const HEAD_MAX: usize = 8 << 10;

/// The answer to what somebody has said so far; nothing where that is not a whole head yet.
pub(super) fn answer(said: &[u8], status: &ClusterStatus) -> Option<Vec<u8>> {
    let is_whole = said.windows(4).any(|end| end == b"\r\n\r\n");
    if !is_whole && said.len() < HEAD_MAX {
        return None;
    }
    let line = said.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == b' ').collect();
    Some(match words[..] {
        _ if !is_whole => plain("431 Request Header Fields Too Large", "the request is too long"),
        [method, target, version] if version.starts_with(b"HTTP/1.") => {
            respond(method, target, status)
        }
        _ => plain("400 Bad Request", "this is no request of HTTP/1.1"),
    })
}

fn respond(method: &[u8], target: &[u8], status: &ClusterStatus) -> Vec<u8> {
    match (method, target) {
        (b"GET", b"/status") => response("200 OK", "application/json", &status.to_text()),
        (b"GET", b"/healthz") => match ailment(status) {
            None => plain("200 OK", word(status.phase)),
            Some(why) => plain("503 Service Unavailable", &why),
        },
        // What GET answers but for the body: RFC 9110, 9.3.2.
        (b"HEAD", _) => {
            let mut answer = respond(b"GET", target, status);
            let end = answer.windows(4).position(|end| end == b"\r\n\r\n");
            answer.truncate(end.map_or(answer.len(), |at| at + 4));
            answer
        }
        (_, b"/status" | b"/healthz") => {
            plain("405 Method Not Allowed", "GET and HEAD are all that there is")
        }
        _ => plain("404 Not Found", "there are /status and /healthz"),
    }
}

/// Why the node is not what it should be; nothing where it is ready, and nothing is wrong with it.
fn ailment(status: &ClusterStatus) -> Option<String> {
    if let Some(problem) = &status.problem {
        return Some(problem.clone());
    }
    let waits_for_others = matches!(status.waits, Wait::Nothing | Wait::Others);
    let is_well = status.phase >= Phase::Ready && waits_for_others;
    (!is_well).then(|| format!("not ready: it is {}", word(status.phase)))
}

fn plain(code: &str, text: &str) -> Vec<u8> {
    // What others wrote, which may be a problem's text, is one line.
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    response(code, "text/plain; charset=utf-8", &format!("{text}\n"))
}

fn response(code: &str, kind: &str, body: &str) -> Vec<u8> {
    let allow = if code.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let length = body.len();
    format!(
        "HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}Cache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use coremax_node_api::join::Now;
    use proptest::prelude::*;

    use super::*;

    fn status() -> ClusterStatus {
        ClusterStatus::blank(Now { mono: 0, wall: 5 }, None)
    }

    fn told(said: &str, status: &ClusterStatus) -> String {
        String::from_utf8(answer(said.as_bytes(), status).unwrap_or_default()).unwrap()
    }

    #[test]
    fn two_things_may_be_got_and_nothing_else() {
        for (line, want) in [
            ("GET /status HTTP/1.1", "200 OK"),
            ("GET /status HTTP/1.0", "200 OK"),
            ("GET /healthz HTTP/1.1", "503 Service Unavailable"),
            ("POST /status HTTP/1.1", "405 Method Not Allowed"),
            ("DELETE /healthz HTTP/1.1", "405 Method Not Allowed"),
            ("GET / HTTP/1.1", "404 Not Found"),
            ("GET /status/ HTTP/1.1", "404 Not Found"),
            ("GET /../status HTTP/1.1", "404 Not Found"),
            ("POST /reset HTTP/1.1", "404 Not Found"),
            ("get /status HTTP/1.1", "405 Method Not Allowed"),
            ("GET /status", "400 Bad Request"),
            ("GET  /status HTTP/1.1", "400 Bad Request"),
            ("GET /status HTTP/2.0", "400 Bad Request"),
            ("", "400 Bad Request"),
        ] {
            let told = told(&format!("{line}\r\nHost: x\r\n\r\n"), &status());
            assert!(told.starts_with(&format!("HTTP/1.1 {want}\r\n")), "{line}: {told}");
            let (head, body) = told.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
            assert_eq!(head.contains("Allow: GET, HEAD"), want.starts_with("405"));
        }
        for target in ["/status", "/healthz", "/"] {
            let [got, headed] = ["GET", "HEAD"]
                .map(|method| told(&format!("{method} {target} HTTP/1.1\r\n\r\n"), &status()));
            assert!(headed.ends_with("\r\n\r\n") && got.len() > headed.len(), "{headed}");
            assert!(got.starts_with(&headed), "{headed}");
        }
        let got = told("GET /status HTTP/1.1\r\n\r\n", &status());
        let (_, body) = got.split_once("\r\n\r\n").unwrap();
        assert_eq!(ClusterStatus::parse(body.as_bytes()).unwrap(), status());
    }

    #[test]
    fn a_head_is_waited_for_and_no_longer_one_kept() {
        let whole = "GET /status HTTP/1.1\r\nHost: x\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(answer(&whole.as_bytes()[..cut], &status()), None);
        }
        let long = format!("GET /status HTTP/1.1\r\nCookie: {}", "x".repeat(HEAD_MAX));
        assert!(told(&long, &status()).starts_with("HTTP/1.1 431 "));
    }

    #[test]
    fn a_node_is_well_when_it_is_ready_and_nothing_is_wrong() {
        let at = |phase, waits, problem: Option<&str>| ClusterStatus {
            phase,
            waits,
            problem: problem.map(str::to_owned),
            ..status()
        };
        for (status, want) in [
            (at(Phase::Ready, Wait::Others, None), "200 OK"),
            (at(Phase::Deploying, Wait::Others, None), "200 OK"),
            (at(Phase::Formed, Wait::Nothing, None), "200 OK"),
            (at(Phase::Prepared, Wait::Others, None), "503 "),
            (at(Phase::Formed, Wait::Seed, None), "503 "),
            (at(Phase::Formed, Wait::ForeignDisk, None), "503 "),
            (at(Phase::Formed, Wait::Nothing, Some("no\r\nroom")), "503 "),
        ] {
            let told = told("GET /healthz HTTP/1.1\r\n\r\n", &status);
            assert!(told.starts_with(&format!("HTTP/1.1 {want}")), "{status:?}: {told}");
        }
        let status = at(Phase::Formed, Wait::Nothing, Some("no\r\nroom"));
        assert!(told("GET /healthz HTTP/1.1\r\n\r\n", &status).ends_with("\r\n\r\nno??room\n"));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), is_ended: bool) {
            let bytes = [&bytes[..], if is_ended { b"\r\n\r\n" } else { b"" }].concat();
            let _ = answer(&bytes, &status());
        }
    }
}
