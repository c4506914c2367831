//! A web server of a few lines, with the faults that real ones have.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What the server does with one request for a path.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Serves the file, honouring `Range`.
    File(Vec<u8>),
    /// Serves the file whole, whatever is asked for.
    WithoutRange(Vec<u8>),
    /// Announces the whole file, sends so many bytes from where it was asked, and hangs up.
    Cut(Vec<u8>, usize),
    /// The same, but always from the start.
    CutWithoutRange(Vec<u8>, usize),
    /// As `Cut`, but says nothing more and keeps the connection open.
    Stall(Vec<u8>, usize),
    /// A status, with a header line if not empty.
    Status(u16, String),
    /// The file for this `Authorization`, 401 otherwise.
    Private(Vec<u8>, &'static str),
    /// The file with an ETag, 304 if that is what the client has.
    Tagged(Vec<u8>, &'static str),
}

/// The replies still to give for each path; the last one is given for ever.
type Script = HashMap<String, Vec<Reply>>;

pub(crate) struct Server {
    pub(crate) url: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves on a free port of the loopback interface until the test ends.
    pub(crate) fn start(replies: impl IntoIterator<Item = (&'static str, Vec<Reply>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let replies = replies.into_iter().map(|(path, replies)| (path.to_owned(), replies));
        let script = Arc::new(Mutex::new(replies.collect::<Script>()));
        let log = Arc::new(Mutex::new(Vec::new()));
        let server = Self { url, log: log.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, log) = (script.clone(), log.clone());
                thread::spawn(move || while serve(&stream, &script, &log).is_some() {});
            }
        });
        server
    }

    /// The requests so far: request line and, after a space each, the headers that matter.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

/// Serves one request; `None` ends the connection.
fn serve(mut stream: &TcpStream, script: &Mutex<Script>, log: &Mutex<Vec<String>>) -> Option<()> {
    let (target, headers) = read_request(stream)?;
    let mut entry = target.clone();
    for name in ["range", "if-none-match"] {
        if let Some(value) = headers.get(name) {
            entry += &format!(" {value}");
        }
    }
    log.lock().unwrap().push(entry);
    let reply = {
        let mut script = script.lock().unwrap();
        let replies = script.get_mut(&target)?;
        if replies.len() > 1 { replies.remove(0) } else { replies[0].clone() }
    };
    let first = headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match reply {
        Reply::File(file) => send(stream, &file, first, file.len()),
        Reply::WithoutRange(file) => send(stream, &file, None, file.len()),
        Reply::Cut(file, length) => {
            send(stream, &file, first, length);
            None
        }
        Reply::CutWithoutRange(file, length) => {
            send(stream, &file, None, length);
            None
        }
        Reply::Stall(file, length) => {
            send(stream, &file, first, length);
            // Until the client hangs up.
            let _ = BufReader::new(stream).read_line(&mut String::new());
            None
        }
        Reply::Private(file, login) if headers.get("authorization").is_some_and(|h| h == login) => {
            send(stream, &file, first, file.len())
        }
        Reply::Tagged(_, tag) if headers.get("if-none-match").is_some_and(|h| h == tag) => {
            stream.write_all(b"HTTP/1.1 304 Not Modified\r\n\r\n").ok()
        }
        Reply::Tagged(file, tag) => {
            let length = file.len();
            write!(stream, "HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: {length}\r\n\r\n")
                .ok()?;
            stream.write_all(&file).ok()
        }
        Reply::Private(..) => status(stream, 401, ""),
        Reply::Status(code, header) => status(stream, code, &header),
    }
}

fn read_request(stream: &TcpStream) -> Option<(String, HashMap<String, String>)> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some((target, headers.collect()))
}

fn send(mut stream: &TcpStream, file: &[u8], first: Option<usize>, length: usize) -> Option<()> {
    let total = file.len();
    let head = match first {
        Some(first) if first >= total => return status(stream, 416, ""),
        Some(first) => format!(
            "HTTP/1.1 206 Partial\r\nContent-Range: bytes {first}-{}/{total}\r\nContent-Length: {}\r\n\r\n",
            total - 1,
            total - first
        ),
        None => format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"),
    };
    let rest = &file[first.unwrap_or(0)..];
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&rest[..length.min(rest.len())]).ok()
}

fn status(mut stream: &TcpStream, code: u16, header: &str) -> Option<()> {
    let line = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    write!(stream, "HTTP/1.1 {code} x\r\n{line}Content-Length: 0\r\n\r\n").ok()
}
