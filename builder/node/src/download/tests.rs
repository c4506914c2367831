use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::mpsc::{Receiver, channel},
};

use coremax_sandbox::{Child, Cmd, Sandbox};

use super::*;

/// Answers connections one after the other, each with such bytes, and closes it. Tells the range of each request.
fn server(answers: Vec<Vec<u8>>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/node", listener.local_addr().unwrap());
    let (tell, told) = channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>();
            let range = head.iter().find_map(|line| line.strip_prefix("range: "));
            tell.send(range.unwrap_or_default().to_owned()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    (url, told)
}

/// An answer with this status line, length that is promised, and body.
fn answer(head: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn open(url: &str, folder: &Path) -> Download {
    let mut download = Download::open(url, folder).unwrap();
    download.pause = Duration::ZERO;
    download
}

fn all(download: &mut Download) -> io::Result<String> {
    let mut text = String::new();
    download.read_to_string(&mut text).map(|_| text)
}

fn refusal(error: &io::Error) -> String {
    error.get_ref().unwrap().downcast_ref::<Error>().unwrap().to_string()
}

#[test]
fn it_is_fetched_once_and_read_as_often_as_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (url, told) = server(vec![answer("200 x", 6, b"update")]);
    let mut download = open(&url, folder.path());
    assert_eq!(download.resumed(), None);
    assert_eq!(all(&mut download).unwrap(), "update");
    download.rewind();
    assert_eq!(all(&mut download).unwrap(), "update");
    assert_eq!(told.iter().collect::<Vec<_>>(), [""]);
    download.forget();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_connection_that_breaks_off_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let (url, told) = server(vec![
        answer("200 x", 6, b"up"),
        answer("503 x", 0, b""),
        answer("206 x\r\nContent-Range: bytes 2-5/6", 4, b"da"),
        // This one cannot begin in the middle.
        answer("200 x", 6, b"update"),
    ]);
    assert_eq!(all(&mut open(&url, folder.path())).unwrap(), "update");
    assert_eq!(told.iter().collect::<Vec<_>>(), ["", "bytes=2-", "bytes=2-", "bytes=4-"]);
}

#[test]
fn another_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (url, told) = server(vec![
        answer("200 x", 6, b"upd"),
        answer("404 x", 0, b""),
        answer("206 x\r\nContent-Range: bytes 3-5/6", 3, b"ate"),
        answer("416 x\r\nContent-Range: bytes */6", 0, b""),
        answer("200 x", 3, b"new"),
    ]);
    let error = all(&mut open(&url, folder.path())).unwrap_err();
    assert!(refusal(&error).ends_with("/node answered with status 404"), "{error}");
    let mut again = open(&url, folder.path());
    assert_eq!((again.resumed(), all(&mut again).unwrap()), (Some(3), "update".into()));
    let mut whole = open(&url, folder.path());
    assert_eq!((whole.resumed(), all(&mut whole).unwrap()), (Some(6), "update".into()));
    whole.restart().unwrap();
    assert_eq!((whole.resumed(), all(&mut whole).unwrap()), (None, "new".into()));
    let ranges = ["", "bytes=3-", "bytes=3-", "bytes=6-", ""];
    assert_eq!(told.iter().collect::<Vec<_>>(), ranges);
}

/// An answer that ends where the connection does.
fn unmeasured(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(), body].concat()
}

#[test]
fn a_file_of_untold_length_is_asked_for_until_nothing_more_comes() {
    let folder = tempfile::tempdir().unwrap();
    let (url, told) = server(vec![
        unmeasured("200 x", b"up"),
        unmeasured("200 x", b"update"),
        answer("416 x\r\nContent-Range: bytes */6", 0, b""),
    ]);
    let mut download = open(&url, folder.path());
    assert_eq!(all(&mut download).unwrap(), "up");
    for (grew, text) in [(true, "update"), (true, "update"), (false, "update")] {
        assert_eq!(download.go_on(), grew);
        download.rewind();
        if grew {
            assert_eq!(all(&mut download).unwrap(), text);
        }
    }
    assert_eq!(told.iter().collect::<Vec<_>>(), ["", "bytes=2-", "bytes=6-"]);
}

#[test]
fn an_answer_that_ends_before_what_is_kept_is_not_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (url, told) = server(vec![
        answer("200 x", 6, b"upd"),
        unmeasured("200 x", b"up"),
        unmeasured("200 x", b"update"),
    ]);
    assert_eq!(all(&mut open(&url, folder.path())).unwrap(), "update");
    assert_eq!(told.iter().collect::<Vec<_>>(), ["", "bytes=3-", "bytes=3-"]);
}

#[test]
fn what_is_kept_of_another_goes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("other"), "old").unwrap();
    let (url, _told) = server(vec![]);
    assert_eq!(open(&url, folder.path()).resumed(), None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn errors_say_what_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let long = answer("200 x", 9, b"");
    for (answers, want) in [
        (vec![answer("401 x", 0, b"")], "answered with status 401"),
        (vec![answer("500 x", 0, b""); 5], "answered with status 500"),
        (vec![long; 5], "broke off"),
        (vec![b"SSH-2.0\r\n".to_vec(); 5], "asking http://127.0.0.1:"),
    ] {
        let (url, told) = server(answers.clone());
        let error = all(&mut open(&url, folder.path())).unwrap_err();
        assert!(refusal(&error).contains(want), "{error}, where {want:?} was expected");
        assert_eq!(told.iter().count(), answers.len(), "{want}");
    }
    let error = all(&mut open("http://no-such-host.invalid/", folder.path())).unwrap_err();
    assert_eq!(refusal(&error), "nobody knows the address of no-such-host.invalid");
    let error = Download::open("ftp://a/b", folder.path()).err().unwrap();
    assert_eq!(error.to_string(), "\"ftp://a/b\" is no http or https URL");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Download::open("http://a/b", &file).err().unwrap();
    assert!(error.to_string().starts_with("keeping what was fetched in "), "{error}");
}

#[test]
fn another_range_than_was_asked_for_is_refused() {
    for head in
        ["206 x\r\nContent-Range: bytes 0-5/6", "206 x", "416 x\r\nContent-Range: bytes */2"]
    {
        let folder = tempfile::tempdir().unwrap();
        let (url, _told) = server(vec![answer("200 x", 6, b"upd"), answer(head, 0, b"")]);
        let error = all(&mut open(&url, folder.path())).unwrap_err();
        assert!(refusal(&error).contains("what follows byte 3, and answered with"), "{error}");
    }
}

/// OpenSSL's own server, with a certificate that it signed itself: its URL of the folder's file `node`, that, and who serves.
pub(crate) fn https(folder: &Path) -> Result<(String, Vec<u8>, Child), String> {
    let openssl = |arguments: &str| {
        let arguments = arguments.split_whitespace();
        Cmd::new("openssl", &Sandbox::host()).args(arguments).current_dir(folder)
    };
    let make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out own.pem \
                -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1 \
                -addext basicConstraints=critical,CA:FALSE";
    openssl(make).run().map_err(|e| e.to_string())?;
    fs::write(folder.join("node"), answer("200 x", 6, b"update")).unwrap();
    let out = folder.join("out");
    let server = "s_server -accept 127.0.0.1:0 -cert own.pem -key key.pem -HTTP";
    let server = openssl(server).stdout_file(File::create(&out).unwrap()).spawn().unwrap();
    let port = loop {
        let said = fs::read_to_string(&out).unwrap();
        if let Some((_, line)) = said.split_once("ACCEPT 127.0.0.1:")
            && let Some((port, _)) = line.split_once('\n')
        {
            break port.to_owned();
        }
        thread::yield_now();
    };
    let own = fs::read(folder.join("own.pem")).unwrap();
    Ok((format!("https://127.0.0.1:{port}/node"), own, server))
}

#[test]
fn an_https_server_must_be_a_trusted_one() {
    let (folder, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (url, own, mut server) = match https(folder.path()) {
        Ok(server) => server,
        Err(why) => return coremax_skip::skip(format_args!("{why} (install openssl)")),
    };
    let fetch = |authorities: &[u8]| {
        let mut download = open(&url.replace("https:", "http:"), kept.path());
        (download.address, download.web) =
            (Address::parse(&url).unwrap(), Web::trusting(authorities).unwrap());
        all(&mut download)
    };
    let error = fetch(b"").unwrap_err();
    let cause = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
    assert!(cause.hint().unwrap().contains("update-ca-certificates"), "{cause:?}");
    assert_eq!(fetch(&own).unwrap(), "update");
    server.kill().unwrap();
}
