//! Helpers shared by the tests in this package.

pub mod deb;
mod differ;
mod disk;
mod firmware;
pub mod guest;
pub mod mirror;
mod project;
pub mod standin;
mod story;
pub mod switch;
mod user;

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Error, Output, Sandbox};

pub use differ::{differences, is_same, tree_differences};
pub use disk::Disk;
pub use firmware::Firmware;
pub use project::project;
pub use story::{Outcome, Sentence, expect, folder, full, left, skip_all, tell};
pub use user::{User, is_here};

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// The command, built beside these tests by `cargo build --release`.
///
/// # Panics
/// If it was not built.
pub fn coremax() -> PathBuf {
    let tests = std::env::current_exe().expect("the path of this test");
    let program = tests.ancestors().nth(2).expect("target/release").join("coremax");
    assert!(program.exists(), "{} is missing: cargo build --release first", program.display());
    program
}

/// The node program, built beside these tests by `cargo build --release -p coremax-node`.
///
/// # Panics
/// If it was not built.
pub fn coremax_node() -> PathBuf {
    let tests = std::env::current_exe().expect("the path of this test");
    let program = tests.ancestors().nth(2).expect("target/release").join("coremax-node");
    let built = program.exists();
    assert!(built, "{} is missing: cargo build --release -p coremax-node", program.display());
    program
}

/// The cache of tests that build real images: `COREMAX_TEST_CACHE`, else a folder beside the command.
pub fn cache() -> PathBuf {
    let named = std::env::var_os("COREMAX_TEST_CACHE").map(PathBuf::from);
    named.unwrap_or_else(|| coremax().with_file_name("boot-tests").join("cache"))
}

/// What a program's failing means to a sentence: a skip where it is not here, and only there.
pub fn failed(error: &Error, package: &str) -> String {
    match error {
        Error::Start { program, source } if source.kind() == ErrorKind::NotFound => {
            format!("skipped: {program} is not here (install {package})")
        }
        error => error.to_string(),
    }
}

/// Runs a program of the host to its end.
///
/// # Errors
/// Where it is not here, or fails.
pub fn host(program: &str, arguments: &[&str]) -> Outcome {
    let run = Cmd::new(program, &Sandbox::host()).args(arguments).run();
    run.map(drop).map_err(|error| error.to_string())
}

/// All files below a folder, neither folders nor links; none where there is no such folder.
///
/// # Panics
/// If one is there and cannot be read: what was not looked into holds nothing that a test could find.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let below = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok(match entry.file_type()? {
            kind if kind.is_dir() => files(&entry.path()),
            kind if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        })
    };
    let all =
        fs::read_dir(folder).and_then(|entries| entries.map(below).collect::<io::Result<Vec<_>>>());
    match all {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("reading {}: {error}", folder.display()),
        Ok(all) => all.concat(),
    }
}

/// What a run of the command came to.
#[derive(Debug)]
pub struct Ran {
    /// Whether it succeeded.
    pub ok: bool,
    /// What it printed.
    pub out: String,
    /// What it said besides.
    pub err: String,
}

/// Runs the command in the repository with these arguments, and lines for progress.
///
/// # Panics
/// If it cannot be started.
pub fn run(arguments: &[&str]) -> Ran {
    run_in(&repository(), arguments)
}

/// The same in another folder.
///
/// # Panics
/// If it cannot be started.
pub fn run_in(folder: &Path, arguments: &[&str]) -> Ran {
    ran(Cmd::new(coremax(), &Sandbox::host()).args(arguments).current_dir(folder))
}

/// The same where it must succeed.
///
/// # Errors
/// What it said.
pub fn runs_in(folder: &Path, arguments: &[&str]) -> Outcome {
    let ran = run_in(folder, arguments);
    expect(ran.ok, || format!("coremax {}: {}", arguments.join(" "), ran.err))
}

/// Runs a command to its end.
///
/// # Panics
/// If it cannot be started.
pub fn ran(command: Cmd) -> Ran {
    let Output { status, stdout, stderr } = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ran { ok: status.success(), out: text(&stdout), err: text(&stderr) }
}
