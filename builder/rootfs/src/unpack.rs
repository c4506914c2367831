//! Packages into a tree: all at once, in parallel, straight from the .debs.
//!
//! What comes out is what dpkg leaves after `dpkg --unpack` of every package: files with their
//! owners, modes and times, configuration files as `X.dpkg-new`, and dpkg's database with each
//! package `install ok unpacked`. Where dpkg depends on the order of packages, the order here is
//! base-files, then the essential packages, then all others as they were given; which of two
//! threads was faster never shows.
//!
//! No maintainer script runs. A package that in its preinst diverts another package's files could
//! only be unpacked after that script; where [`Unpack::leave_diverting`] is set, such a package is
//! left alone and named in [`Unpacked::left`], for dpkg itself to unpack in
//! [`configure`](crate::configure). (Essential packages divert nothing but their own files.)

mod claims;
#[cfg(test)]
mod hostile;
mod layout;
mod links;
mod package;
mod paths;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::{Error, database, deb::Deb, tree::Tree};

use claims::Claims;
use links::HardLink;
pub(crate) use package::{Package, conffiles};
use writer::Writer;

/// How to unpack.
#[derive(Debug, Clone)]
pub struct Unpack {
    /// Whether /bin, /sbin and /lib* are links into /usr, made before anything else.
    pub merged_usr: bool,
    /// Whether packages that divert others' files are left for dpkg.
    pub leave_diverting: bool,
    /// How many packages are unpacked at a time; each takes up to 70 MB of memory (the dictionary
    /// of the strongest xz preset; 10 MB with the usual one).
    pub threads: usize,
}

impl Default for Unpack {
    /// For a root file system, with a thread for each processor but no more than eight.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, |n| n.get().min(8));
        Self { merged_usr: true, leave_diverting: true, threads }
    }
}

/// What was unpacked.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// How many packages.
    pub packages: usize,
    /// The bytes of all files together.
    pub bytes: u64,
    /// Packages that were left for dpkg.
    pub left: Vec<Deb>,
}

/// What all threads share.
struct Job<'a> {
    tree: Tree,
    packages: Vec<Package>,
    options: &'a Unpack,
    claims: Claims,
    progress: &'a (dyn Fn(u64) + Sync),
}

/// The files of one package, as its `.list` names them, their bytes, and the links yet to be made.
#[derive(Debug, Default)]
struct Files {
    list: Vec<u8>,
    bytes: u64,
    links: Vec<HardLink>,
}

/// Unpacks packages below `tree`, a folder that exists. The process must be root, be it of a user
/// namespace. `progress` is called with bytes of files written. Where it fails, the tree is
/// unfinished and of no further use.
///
/// # Errors
/// Where a .deb cannot be read, two packages ship one path, or the tree cannot be written.
pub fn unpack(
    debs: &[Deb],
    tree: &Path,
    options: &Unpack,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Unpacked, Error> {
    let (packages, left) = package::read(debs, options.leave_diverting)?;
    let job =
        Job { tree: Tree::open(tree)?, packages, options, claims: Claims::default(), progress };
    if options.merged_usr {
        layout::merge_usr(&job.tree)?;
    }
    let mut files = unpack_all(&job)?;
    links::make(&job, &mut files)?;
    job.claims.settle_folders(&job.tree, &job.packages)?;

    let bytes = files.iter().map(|files| files.bytes).sum();
    let lists = files.into_iter().map(|files| files.list).collect();
    let lists = job.claims.without_lost(lists, &job.packages);
    database::write(&job.tree, &job.packages, &lists)?;
    Ok(Unpacked { packages: job.packages.len(), bytes, left })
}

/// base-files alone, for it brings links such as /var/run that others unpack through; then all
/// others in parallel, the biggest first, so that no thread ends long after the others.
fn unpack_all(job: &Job<'_>) -> Result<Vec<Files>, Error> {
    let (base, others): (Vec<_>, Vec<_>) =
        (0..job.packages.len()).partition(|&index| job.packages[index].is_base());
    let mut biggest_first = others;
    biggest_first.sort_by_key(|&index| std::cmp::Reverse(job.packages[index].packed_bytes));

    let files: Vec<Mutex<Files>> = job.packages.iter().map(|_| Mutex::default()).collect();
    for (queue, threads) in [(base, 1), (biggest_first, job.options.threads.max(1))] {
        let worker = Worker { job, queue: &queue, next: AtomicUsize::new(0), files: &files };
        worker.run(threads)?;
    }
    Ok(files.into_iter().map(|files| files.into_inner().expect("no thread panicked")).collect())
}

/// Threads that take packages off one queue.
struct Worker<'a> {
    job: &'a Job<'a>,
    queue: &'a [usize],
    next: AtomicUsize,
    files: &'a [Mutex<Files>],
}

impl Worker<'_> {
    fn run(&self, threads: usize) -> Result<(), Error> {
        let stop = AtomicBool::new(false);
        let results: Vec<Result<(), Error>> = thread::scope(|scope| {
            let started: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.work(&stop))).collect();
            let joined = started.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            joined.collect()
        });
        results.into_iter().collect()
    }

    fn work(&self, stop: &AtomicBool) -> Result<(), Error> {
        let mut buffer = vec![0; writer::BUFFER_BYTES];
        while !stop.load(Ordering::Relaxed) {
            let Some(&index) = self.queue.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            match Writer::new(self.job, index, &mut buffer).write_all() {
                Ok(files) => *self.files[index].lock().expect("no thread panicked") = files,
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
