//! Bringing inputs into the cache: in parallel, resumed, retried, and checked.

use std::{
    collections::{BTreeSet, HashMap},
    io::Read,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    Cache, Error, Got, Input, Transport, Validator,
    client::{Ask, Client},
    partial::{Opened, Partial},
    retry::Backoff,
    url::{Url, redact},
};

/// Read at once.
const BUFFER: usize = 128 << 10;
/// Room that must stay free beside what is fetched, for names and folders.
const SPARE: u64 = 4 << 20;

/// Fetches files over one [`Transport`] into one [`Cache`].
pub struct Fetcher {
    cache: Cache,
    client: Client,
    dead: Dead,
}

impl Fetcher {
    /// A fetcher that stores into `cache`. Nothing is asked of the network yet.
    pub fn new(cache: Cache, transport: Transport) -> Self {
        Self { cache, client: Client::new(transport), dead: Dead::default() }
    }

    /// The cache that is filled.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Brings all `inputs` into the cache and returns their paths, in the same order. Every file, fetched or
    /// found, was read and matches its digest. `progress` is called with the bytes of missing files as they
    /// arrive: in sum what [`Cache::missing`] said.
    ///
    /// # Errors
    /// The first failure; the other downloads are stopped, and what they have is resumed next time.
    pub fn fetch_all(
        &self,
        inputs: &[Input],
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<PathBuf>, Error> {
        self.check_space(inputs)?;
        let queue = Queue::new(inputs);
        let workers = self.client.transport().connections.clamp(1, queue.jobs.len().max(1));
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| queue.work(|input| self.fetch(input, &queue.stop, progress)));
            }
        });
        queue.finish(inputs)
    }

    /// Fetches a small file that is not pinned, such as a signed index, into memory.
    ///
    /// # Errors
    /// Also where it is longer than `limit` bytes.
    pub fn get(&self, url: &str, limit: u64, validator: Option<&Validator>) -> Result<Got, Error> {
        let mut backoff = self.backoff();
        loop {
            match self.get_once(url, limit, validator) {
                Ok(got) => return Ok(got),
                Err(error) => backoff.after(error)?,
            }
        }
    }

    fn get_once(&self, url: &str, limit: u64, validator: Option<&Validator>) -> Result<Got, Error> {
        let Some(answer) = self.client.open(url, &Ask { validator, ..Ask::default() })? else {
            return Ok(Got::Unchanged);
        };
        let mut bytes = Vec::new();
        let mut body = answer.body.take(limit + 1);
        body.read_to_end(&mut bytes).map_err(|error| self.client.broken(url, error))?;
        match bytes.len() as u64 {
            length if length > limit => Err(Error::TooLong { url: redact(url), limit }),
            got => match answer.length {
                Some(wanted) if got < wanted => Err(Error::Short { url: redact(url), wanted, got }),
                _ => Ok(Got::File(bytes, answer.validator)),
            },
        }
    }

    fn check_space(&self, inputs: &[Input]) -> Result<(), Error> {
        let needed = self.cache.missing(inputs);
        let free = self.cache.free()?;
        if needed == 0 || needed + SPARE <= free {
            return Ok(());
        }
        Err(Error::Space { dir: self.cache.dir().to_owned(), free, needed })
    }

    fn fetch(
        &self,
        input: &Input,
        stop: &AtomicBool,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<PathBuf, Error> {
        let missing = self.cache.find(input).is_none();
        if let Some(path) = self.cache.verified(input)? {
            return Ok(path);
        }
        let meter = Meter { shown: 0, missing, progress };
        if input.url.is_empty() {
            return Err(Error::Nowhere { name: input.name.clone() });
        }
        let partial = match Partial::open(&self.cache, input)? {
            Opened::Ours(partial) => partial,
            Opened::Finished(path) => {
                meter.finish(input.size);
                return Ok(path);
            }
        };
        let (client, dead, url) = (&self.client, &self.dead, input.url.as_str());
        Download { client, dead, input, url, stop, meter, partial }
            .run(&self.cache, || self.backoff())
    }

    fn backoff(&self) -> Backoff {
        let transport = self.client.transport();
        Backoff::new(transport.attempts, transport.pause)
    }
}

/// One input on its way into the cache.
struct Download<'a> {
    client: &'a Client,
    dead: &'a Dead,
    input: &'a Input,
    /// The place that is asked now: one of the input's.
    url: &'a str,
    stop: &'a AtomicBool,
    meter: Meter<'a>,
    partial: Partial,
}

impl Download<'_> {
    /// Asks one place after the other until one gives it.
    fn run(mut self, cache: &Cache, backoff: impl Fn() -> Backoff) -> Result<PathBuf, Error> {
        let mut failures = Vec::new();
        for url in self.dead.last(std::iter::once(&self.input.url).chain(&self.input.others)) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            self.url = url;
            match self.get(backoff()) {
                Ok(()) => return self.partial.finish(cache, &self.input.digest),
                Err(error) if error.is_of_place() => {
                    self.dead.note(url, &error);
                    if matches!(error, Error::Digest { .. }) {
                        self.partial.restart()?;
                    }
                    failures.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        // What has come is of no use only where no place has the file, or all have another: else the next time goes on
        // from there.
        let is_another = |error: &Error| matches!(error, Error::Digest { .. } | Error::Size { .. });
        if failures.iter().all(|error| error.is_gone() || is_another(error)) {
            self.partial.discard();
        }
        Err(self.input.nowhere(failures))
    }

    /// Brings the whole of it from the place that is asked now.
    fn get(&mut self, mut backoff: Backoff) -> Result<(), Error> {
        let mut farthest = self.partial.length();
        let mut restarted = false;
        loop {
            let before = self.partial.length();
            match self.attempt() {
                Ok(()) => return Ok(()),
                // What was there before may have been another file's beginning: once more, from the start.
                Err(Error::Digest { .. }) if before > 0 && !restarted => {
                    restarted = true;
                    farthest = 0;
                    self.partial.restart()?;
                }
                Err(error @ (Error::Digest { .. } | Error::Size { .. })) => return Err(error),
                Err(error) => {
                    // A server that begins anew again and again gets nowhere, however much it sends.
                    if self.partial.length() > farthest {
                        farthest = self.partial.length();
                        backoff.progressed();
                    }
                    backoff.after(error)?;
                }
            }
        }
    }

    /// Fetches what is missing, and checks the whole.
    fn attempt(&mut self) -> Result<(), Error> {
        if self.partial.length() < self.input.size || self.input.size == 0 {
            self.transfer()?;
        }
        let got = self.partial.digest();
        if got == self.input.digest {
            return Ok(());
        }
        let Input { name, digest, .. } = self.input;
        Err(Error::Digest { name: name.clone(), url: redact(self.url), wanted: *digest, got })
    }

    fn transfer(&mut self) -> Result<(), Error> {
        let (url, size) = (self.url, &self.input.size);
        let offset = self.partial.length();
        self.meter.reached(offset);
        let answer = match self.client.open(url, &Ask { offset, validator: None }) {
            // The server has less than we do: what we have is not its beginning.
            Err(Error::Status { status: 416 | 206, .. }) if offset > 0 => {
                self.partial.restart()?;
                self.client.open(url, &Ask::default())?
            }
            answer => answer?,
        };
        let Some(mut answer) = answer else {
            return Err(Error::Status { url: redact(url), status: 304 });
        };
        // Before anything is thrown away: what another place has brought may be right.
        if let Some(got) = answer.length.filter(|length| length != size) {
            return Err(self.wrong_size(got));
        }
        if answer.offset < self.partial.length() {
            self.partial.restart()?;
        }
        self.copy(&mut answer.body)
    }

    fn copy(&mut self, body: &mut dyn Read) -> Result<(), Error> {
        let (url, size) = (self.url, &self.input.size);
        let mut buffer = vec![0; BUFFER];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let read = body.read(&mut buffer).map_err(|error| self.client.broken(url, error))?;
            let length = self.partial.length() + read as u64;
            if read == 0 && length == *size {
                return Ok(());
            } else if read == 0 {
                return Err(Error::Short { url: redact(url), wanted: *size, got: length });
            } else if length > *size {
                return Err(self.wrong_size(length));
            }
            self.partial.append(&buffer[..read])?;
            self.meter.reached(length);
        }
    }

    fn wrong_size(&self, got: u64) -> Error {
        let Input { name, size, .. } = self.input;
        Error::Size { name: name.clone(), url: redact(self.url), wanted: *size, got }
    }
}

/// Servers that were given up, so that not each of many files waits for them anew.
#[derive(Default)]
struct Dead(Mutex<BTreeSet<String>>);

impl Dead {
    fn note(&self, url: &str, error: &Error) {
        // Files of this host have no server; one that breaks off at one file may serve the others.
        let is_down = error.is_unreachable() || error.is_overloaded();
        if let Some(url) = Url::parse(url).filter(|url| is_down && !url.authority.is_empty()) {
            let mut dead = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            dead.insert(url.authority.to_owned());
        }
    }

    /// The places in their order, but for those that were given up: these come last.
    fn last<'a>(&self, places: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
        let dead = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places: Vec<&str> = places.map(String::as_str).collect();
        places
            .sort_by_key(|place| Url::parse(place).is_some_and(|url| dead.contains(url.authority)));
        places
    }
}

/// Tells of each byte once, however often a file is begun anew.
struct Meter<'a> {
    shown: u64,
    /// Whether the file was counted as missing.
    missing: bool,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl Meter<'_> {
    fn reached(&mut self, length: u64) {
        if self.missing && length > self.shown {
            (self.progress)(length - self.shown);
            self.shown = length;
        }
    }

    fn finish(mut self, length: u64) {
        self.reached(length);
    }
}

/// Inputs to fetch, each digest once and the largest first, so that no long one is left for the end.
struct Queue<'a> {
    jobs: Vec<&'a Input>,
    next: AtomicUsize,
    stop: AtomicBool,
    paths: Mutex<HashMap<[u8; 32], PathBuf>>,
    failure: Mutex<Option<Error>>,
}

impl<'a> Queue<'a> {
    fn new(inputs: &'a [Input]) -> Self {
        let mut jobs: Vec<&Input> = inputs.iter().collect();
        jobs.sort_by_key(|input| (std::cmp::Reverse(input.size), input.digest));
        jobs.dedup_by_key(|input| input.digest);
        Self {
            jobs,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            paths: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    fn work(&self, fetch: impl Fn(&Input) -> Result<PathBuf, Error>) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(input) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            match fetch(input) {
                Ok(path) => {
                    let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
                    paths.insert(*input.digest.as_bytes(), path);
                }
                Err(error) => self.fail(error),
            }
        }
    }

    fn fail(&self, error: Error) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // A worker that was stopped must not hide what it was stopped for.
        if failure.as_ref().is_none_or(|first| matches!(first, Error::Stopped)) {
            *failure = Some(error);
        }
    }

    fn finish(self, inputs: &[Input]) -> Result<Vec<PathBuf>, Error> {
        if let Some(error) = self.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let paths = self.paths.into_inner().unwrap_or_else(PoisonError::into_inner);
        let path_of = |input: &Input| paths.get(input.digest.as_bytes()).cloned();
        inputs.iter().map(|input| path_of(input).ok_or(Error::Stopped)).collect()
    }
}
