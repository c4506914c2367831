//! Tests as sentences that stand on each other: told in their order, each counted.

use std::{
    cell::{RefCell, RefMut},
    fs,
    path::PathBuf,
    process::ExitCode,
};

use coremax_skip::skip_test;

/// How the error begins of a sentence that cannot be told here, which is no failure.
const SKIPPED: &str = "skipped: ";

/// What came of a sentence; an error that begins with `skipped: ` is no failure, and counted as a skip.
pub type Outcome = Result<(), String>;
/// A sentence and what proves it on its stage.
pub type Sentence<S> = (&'static str, fn(&S) -> Outcome);

/// Where a story plays that is called this: a new folder beside the command.
///
/// # Panics
/// If it cannot be made.
pub fn folder(story: &str) -> PathBuf {
    let folder = crate::coremax().with_file_name(format!("{story}-tests"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for the story");
    folder
}

/// What a sentence before has left, which is called this.
///
/// # Errors
/// A skip where there is none.
pub fn left<'a, T>(by: &'a RefCell<Option<T>>, what: &str) -> Result<RefMut<'a, T>, String> {
    RefMut::filter_map(by.borrow_mut(), Option::as_mut)
        .map_err(|_| format!("{SKIPPED}there is no {what}"))
}

/// Tells the story, a line a sentence. Words on the command line choose the sentences that hold one of them.
pub fn tell<S>(story: &[Sentence<S>], stage: &S) -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen = |sentence: &str| words.is_empty() || words.iter().any(|w| sentence.contains(w));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (sentence, check) in story.iter().filter(|(sentence, _)| chosen(sentence)) {
        match check(stage) {
            Ok(()) => {
                passed += 1;
                println!("ok       {sentence}");
            }
            Err(why) => match why.strip_prefix(SKIPPED) {
                Some(why) => {
                    skipped += 1;
                    skip_test(sentence, why);
                }
                None => {
                    failed += 1;
                    println!("FAILED   {sentence}: {why}");
                }
            },
        }
    }
    if passed + failed + skipped == 0 {
        failed = 1;
        println!("FAILED   no sentence has a word of {words:?}");
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tells no sentence of the story: none can be told here.
pub fn skip_all<S>(story: &[Sentence<S>], why: &str) -> ExitCode {
    for (sentence, _) in story {
        skip_test(sentence, why);
    }
    println!("0 passed, 0 failed, {} skipped", story.len());
    ExitCode::SUCCESS
}

/// What costs minutes a sentence is told by tests/full alone, which says `COREMAX_FULL=1`.
///
/// # Errors
/// A skip.
pub fn full() -> Outcome {
    let told = std::env::var_os("COREMAX_FULL").is_some();
    expect(told, || "skipped: it takes minutes; COREMAX_FULL=1 tells it".into())
}

/// Fails with this text unless it holds.
///
/// # Errors
/// The text.
pub fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise()) }
}
