//! How tests/run counts: what was skipped is no pass.

use std::{env, fs, path::Path};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Ran, ran, repository};

/// Makes the test below one that cannot be made.
const SKIPPED: &str = "COREMAX_TEST_IS_SKIPPED";

fn tally(command: &[&str]) -> Ran {
    let tally = Cmd::new(repository().join("tests/tally"), &Sandbox::host());
    ran(tally.args(command).env(SKIPPED, "1"))
}

#[test]
fn a_skip_under_the_harness_is_shown_and_counted() {
    if env::var_os(SKIPPED).is_some() {
        return coremax_skip::skip("there is no moon");
    }
    let this = env::current_exe().unwrap();
    let name = "skips::a_skip_under_the_harness_is_shown_and_counted";
    let ran = tally(&[this.to_str().unwrap(), "--exact", name, "--test-threads=1"]);
    assert!(ran.ok, "{}", ran.err);
    assert!(ran.out.contains("test result: ok. 1 passed"), "{}", ran.out);
    let end =
        format!("\nskipped\n  cli: {name}: there is no moon\n0 passed, 0 failed, 1 skipped\n");
    assert!(ran.out.ends_with(&end), "{}", ran.out);
}

/// What test programs print, the skips they note, the status they end with, and the sum.
const RUNS: [(&str, &str, i32, &str); 7] = [
    ("", "", 0, "0 passed, 0 failed, 0 skipped"),
    (
        "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured\n1 passed, 0 failed, 0 skipped\n",
        "a\tone\tno\na\tone\twhy\nb\tone\tno\n",
        0,
        "4 passed, 0 failed, 2 skipped",
    ),
    (
        "ok       one\n1 passed, 0 failed, 2 skipped\n",
        "story\ttwo\tno\nstory\tthree\tno\n",
        0,
        "1 passed, 0 failed, 2 skipped",
    ),
    (
        "test x ... ignored, slow\ntest result: ok. 1 passed; 0 failed; 1 ignored\n",
        "",
        0,
        "1 passed, 0 failed, 1 skipped",
    ),
    // A test that skipped a part and then failed has failed.
    (
        "     Running a.rs (deps/a-12)\ntest y ... FAILED\ntest result: FAILED. 2 passed; 1 failed; 0 ignored\n",
        "a\ty\tno\n",
        101,
        "2 passed, 1 failed, 0 skipped",
    ),
    // That another program has a test of its name that fails is nothing to it.
    (
        "     Running b.rs (deps/b-12)\ntest y ... FAILED\ntest result: FAILED. 2 passed; 1 failed; 0 ignored\n",
        "a\ty\tno\n",
        101,
        "1 passed, 1 failed, 1 skipped",
    ),
    (
        "     Running a\n1 passed, 0 failed, 0 skipped\n     Running b\nerror: test failed, to rerun pass `b`\n",
        "",
        101,
        "1 passed, 1 failed, 0 skipped",
    ),
];

#[test]
fn the_sum_is_over_all_programs_and_the_status_is_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let [log, skips] = ["log", "skips"].map(|name| folder.path().join(name));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    for (printed, skipped, status, sum) in RUNS {
        fs::write(&log, printed).unwrap();
        fs::write(&skips, skipped).unwrap();
        let script = "cat \"$1\"; cat \"$2\" >>\"$COREMAX_TEST_SKIPS\"; exit \"$3\"";
        let (log, skips, status) = (text(&log), text(&skips), status.to_string());
        let ran = tally(&["sh", "-c", script, "sh", &log, &skips, &status]);
        assert_eq!(ran.out.lines().last(), Some(sum), "{printed}{}", ran.err);
        assert_eq!(ran.ok, status == "0", "{printed}");
    }
}

/// The harness catches what is printed: a test that only says so is counted as passed.
#[test]
fn no_test_skips_in_silence() {
    let mut found = Vec::new();
    for folder in ["builder", "tests"] {
        look(&repository().join(folder), &mut found);
    }
    assert!(found.is_empty(), "not by coremax_skip::skip:\n{}", found.join("\n"));
}

fn look(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let path = entry.path();
        if path.is_dir() {
            look(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let prints = |line: &&str| line.contains(concat!("println!(\"", "skipped"));
            found.extend(text.lines().filter(prints).map(|l| format!("{}: {l}", path.display())));
        }
    }
}
