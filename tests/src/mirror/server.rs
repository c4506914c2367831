//! A web server of a few lines: serves files from memory, honours `Range`, and fails as it is told.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

/// What goes wrong with requests for paths that end in some text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One byte in the middle is another.
    Flip,
    /// The connection ends after half of what was asked for, so many times.
    Cut(u32),
    /// The same, but it stays open and silent.
    Stall(u32),
}

/// Files by path, served on a free port of the loopback interface until the test ends.
pub struct Server {
    /// Its address, without a slash at the end.
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: Vec<(String, Fault)>,
    log: Vec<String>,
    /// Called once, before the first answer for a path with this end.
    hook: Option<(String, Box<dyn FnOnce() + Send>)>,
}

impl Server {
    /// Starts a server of these files.
    ///
    /// # Panics
    /// If there is no port.
    pub fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let state = Arc::new(Mutex::new(State { files, ..State::default() }));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || while serve(&stream, &state).is_some() {});
            }
        });
        Self { url, state }
    }

    /// Serves other files from now on, without faults, and forgets the requests so far.
    pub fn serve(&self, files: BTreeMap<String, Vec<u8>>) {
        *self.state() = State { files, ..State::default() };
    }

    /// Does wrong to paths with this end.
    pub fn fail(&self, end: &str, fault: Fault) {
        self.state().faults.push((end.to_owned(), fault));
    }

    /// Does this before the first answer for a path with this end.
    pub fn before(&self, end: &str, act: impl FnOnce() + Send + 'static) {
        self.state().hook = Some((end.to_owned(), Box::new(act)));
    }

    /// The requests so far: the path, and after a space the range that was asked for.
    pub fn requests(&self) -> Vec<String> {
        self.state().log.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one request; `None` ends the connection.
fn serve(mut stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let (path, range) = read_request(stream)?;
    let (file, fault) = {
        let mut state = state.lock().ok()?;
        state.log.push(format!("{path} {}", range.map_or(String::new(), |at| at.to_string())));
        if state.hook.as_ref().is_some_and(|(end, _)| path.ends_with(end)) {
            (state.hook.take()?.1)();
        }
        (state.files.get(&path).cloned(), take_fault(&mut state.faults, &path))
    };
    let Some(mut file) = file else {
        return stream.write_all(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n").ok();
    };
    if fault == Some(Fault::Flip) {
        let middle = file.len() / 2;
        file[middle] ^= 1;
    }
    let first = range.unwrap_or(0).min(file.len());
    let (rest, total) = (&file[first..], file.len());
    let head = match range {
        Some(_) => format!("206 x\r\nContent-Range: bytes {first}-{}/{total}", total - 1),
        None => "200 x".to_owned(),
    };
    write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", rest.len()).ok()?;
    match fault {
        None | Some(Fault::Flip) => stream.write_all(rest).ok(),
        Some(Fault::Cut(_)) => stream.write_all(&rest[..rest.len() / 2]).ok().and(None),
        Some(Fault::Stall(_)) => {
            stream.write_all(&rest[..rest.len() / 2]).ok()?;
            // Until the client hangs up.
            let _ = stream.read(&mut [0]);
            None
        }
    }
}

/// The fault that this request meets, counted down.
fn take_fault(faults: &mut Vec<(String, Fault)>, path: &str) -> Option<Fault> {
    let at = faults.iter().position(|(end, _)| path.ends_with(end))?;
    let (_, fault) = &mut faults[at];
    let found = *fault;
    if let Fault::Cut(left) | Fault::Stall(left) = fault {
        *left -= 1;
        if *left == 0 {
            faults.remove(at);
        }
    }
    Some(found)
}

fn read_request(stream: &TcpStream) -> Option<(String, Option<usize>)> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<_> =
        lines.take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase()).collect();
    let range = headers.iter().find_map(|line| line.strip_prefix("range: bytes="));
    Some((path, range.and_then(|range| range.strip_suffix('-')?.parse().ok())))
}
