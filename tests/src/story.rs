//! Tests as sentences that stand on each other: told in their order, each counted.

use std::process::ExitCode;

/// What came of a sentence; an error that begins with `skipped` is no failure.
pub type Outcome = Result<(), String>;
/// A sentence and what proves it on its stage.
pub type Sentence<S> = (&'static str, fn(&S) -> Outcome);

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
            Err(why) if why.starts_with("skipped") => {
                skipped += 1;
                println!("skipped  {sentence}: {why}");
            }
            Err(why) => {
                failed += 1;
                println!("FAILED   {sentence}: {why}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Fails with this text unless it holds.
///
/// # Errors
/// The text.
pub fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise()) }
}
