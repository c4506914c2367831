//! Who reads what the command says: narrow terminals, logs, and readers that went away.

use std::{fs, fs::File, io, os::fd::OwnedFd, path::Path};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{coremax, ran, repository};

/// The end of a pipe that nobody reads.
fn unread() -> File {
    let (_, writer) = io::pipe().expect("a pipe");
    File::from(OwnedFd::from(writer))
}

fn command(folder: &Path, arguments: &[&str]) -> Cmd {
    let cache = folder.join("cache");
    Cmd::new(coremax(), &Sandbox::host())
        .args(arguments)
        .env("COREMAX_CACHE", cache)
        .current_dir(folder)
}

/// A folder with a recipe that is right, and one that is wrong.
fn recipes() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for recipes");
    let good = "name = \"good\"\nbase = \"debian-12\"\n[packages]\ninstall = [\"hello\"]\n";
    fs::write(folder.path().join("good.toml"), good).expect("writing a recipe");
    fs::write(folder.path().join("bad.toml"), "nme = \"bad\"\nbse = \"debian-12\"\n")
        .expect("writing a recipe");
    folder
}

/// As `coremax ... | head` does it, only sooner. A panic would end it with 101.
#[test]
fn a_reader_that_went_away_is_no_panic() {
    let folder = recipes();
    for (arguments, code) in [
        (&["check", "good.toml"][..], 0),
        (&["schema"], 0),
        (&["completions", "bash"], 0),
        (&["man"], 0),
        (&["key", "new", "a.key"], 0),
        (&["clean"], 0),
        (&["--help"], 0),
        (&["build", "--help"], 0),
        (&["check", "bad.toml"], 1),
        (&["plan", "bad.toml"], 1),
        (&["build", "bad.toml", "--json"], 1),
        (&["test", "nowhere"], 1),
        (&["run", "nowhere"], 1),
        (&["nonsense"], 2),
    ] {
        let command = command(folder.path(), arguments);
        let mut child = command.stdout_file(unread()).stderr_file(unread()).spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
    }
}

/// What cannot be written for another reason is an error.
#[test]
fn a_full_disk_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = command(&repository(), &["schema"]).stdout_file(full).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// In a terminal of so many columns; `None` where there is none to be had.
fn in_terminal(columns: usize, folder: &Path, arguments: &str) -> Option<String> {
    let line = format!("stty rows 24 cols {columns}; {} {arguments}", coremax().display());
    let script = Cmd::new("script", &Sandbox::host()).args(["-qec", &line, "/dev/null"]);
    if let Err(error) = Cmd::new("script", &Sandbox::host()).arg("--version").run() {
        coremax_skip::skip(format_args!("{error}: it is in the package bsdutils"));
        return None;
    }
    Some(ran(script.current_dir(folder)).out.replace('\r', ""))
}

#[test]
fn errors_fit_the_terminal() {
    let folder = recipes();
    let missing = "run a-folder/that/is/not/there --cache /proc/nowhere/in/particular";
    for (columns, arguments) in [(40, missing), (60, missing), (80, "check bad.toml")] {
        let Some(said) = in_terminal(columns, folder.path(), arguments) else { return };
        assert!(said.contains("nowhere") || said.contains("name"), "{said}");
        for line in said.lines() {
            let width = console_width(line);
            // One word may be longer than the line.
            let word = line.split_whitespace().map(console_width).max().unwrap_or(0);
            assert!(width <= columns || width <= word + 4, "{columns} columns:\n{said}");
        }
    }
    // A log is searched: there a message stays on its line.
    let ran = ran(command(folder.path(), &["run", "nowhere", "--cache", "/proc/nowhere/in/it"]));
    assert_eq!(
        ran.err.lines().filter(|line| line.starts_with("error: ")).count(),
        1,
        "{}",
        ran.err
    );
    assert!(ran.err.lines().all(|line| line.starts_with("error: ") || line.starts_with("hint: ")));
}

/// Without the colours.
fn console_width(line: &str) -> usize {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().chars().count();
    first
        + parts
            .map(|part| part.split_once('m').map_or(0, |(_, rest)| rest.chars().count()))
            .sum::<usize>()
}
