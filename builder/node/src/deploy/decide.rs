//! What comes next, by the journal.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use coremax_node_api::join::{Digest, Formation};

use super::journal::Record;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The deployment of this formation begins.
    Begin,
    /// This step is to be done.
    Step {
        /// Its number, from 0.
        number: usize,
        /// It was begun before, and nobody knows how far it came.
        is_interrupted: bool,
    },
    /// Every step is done.
    Finish,
    /// The deployment is done, and was for other rows: these are taken in.
    Late,
    /// All is done, and was.
    Nothing,
}

/// Whether what is at work takes in machines that came late, which has steps of its own.
pub(super) fn is_late(records: &[Record]) -> bool {
    matches!(section(since_begun(records)).first(), Some(Record::Late { .. }))
}

/// What comes next of the deployment of this formation for these rows, whose steps have these names and inputs, in order.
///
/// A step is done if it ended well with the same inputs, after the one before it did. So inputs that change before all is
/// done have their step run again, and what comes after it.
///
/// # Errors
/// Where the journal is of a formation that this one may not follow, or of another one that is done: a cluster is
/// deployed once.
pub(super) fn next(
    records: &[Record],
    formation: &Formation,
    rows: Digest,
    steps: &[(&str, Digest)],
) -> Result<Next> {
    let since = since_begun(records);
    let Some(Record::Begin { formation: before, .. }) = since.first() else {
        return Ok(Next::Begin);
    };
    let finished = since.iter().rev().find_map(|record| match record {
        Record::Finish { rows, .. } => Some(*rows),
        _ => None,
    });
    if before != formation {
        if finished.is_some() || !formation.may_follow(before) {
            bail!(
                "this machine has begun to deploy another formation (epoch {}, seed {:?})",
                before.edition.epoch,
                before.seed
            );
        }
        return Ok(Next::Begin);
    }
    if finished == Some(rows) {
        return Ok(Next::Nothing);
    }
    let since = section(since);
    if since.iter().any(|record| matches!(record, Record::Finish { .. })) {
        return Ok(Next::Late);
    }
    let mut after = 0;
    for (number, (name, inputs)) in steps.iter().enumerate() {
        let last = last_attempt(since, name);
        match last {
            Some(Attempt { start, of, end: Some((end, 0)) }) if start > after && of == *inputs => {
                after = end;
            }
            _ => {
                let is_interrupted = last.is_some_and(|attempt| attempt.end.is_none());
                return Ok(Next::Step { number, is_interrupted });
            }
        }
    }
    Ok(Next::Finish)
}

/// From where a deployment was begun last; nothing where none was.
fn since_begun(records: &[Record]) -> &[Record] {
    let begun = records.iter().rposition(|record| matches!(record, Record::Begin { .. }));
    begun.map_or(&[], |at| &records[at..])
}

/// What is at work: from where it was begun, or from where late machines were last taken in.
fn section(records: &[Record]) -> &[Record] {
    let late = records.iter().rposition(|record| matches!(record, Record::Late { .. }));
    &records[late.unwrap_or(0)..]
}

/// The records by which comes next what comes next by all of them: the last beginning, the last time that late machines
/// were taken in, what was last of each step since then, and the last end.
pub(super) fn needed(records: &[Record]) -> Vec<Record> {
    let since = since_begun(records);
    let section = section(since);
    let before = since.len() - section.len();
    // Where each of the two begins.
    let mut kept: BTreeSet<_> = [0, before].into_iter().filter(|at| *at < since.len()).collect();
    kept.extend(since.iter().rposition(|record| matches!(record, Record::Finish { .. })));
    let names: BTreeSet<_> = section
        .iter()
        .filter_map(|record| match record {
            Record::Start { step, .. } => Some(step),
            _ => None,
        })
        .collect();
    for attempt in names.into_iter().filter_map(|name| last_attempt(section, name)) {
        kept.insert(before + attempt.start);
        kept.extend(attempt.end.map(|(at, _)| before + at));
    }
    kept.into_iter().map(|at| since[at].clone()).collect()
}

/// The last time that a step was run: where its record is, its inputs, and where its end is and with which code.
#[derive(Clone, Copy)]
struct Attempt {
    start: usize,
    of: Digest,
    end: Option<(usize, i32)>,
}

fn last_attempt(records: &[Record], name: &str) -> Option<Attempt> {
    let start = |(at, record): (usize, &Record)| match record {
        Record::Start { step, inputs, .. } if step == name => Some((at, *inputs)),
        _ => None,
    };
    let (start, of) = records.iter().enumerate().rev().find_map(start)?;
    let end = |(at, record): (usize, &Record)| match record {
        Record::End { step, code, .. } if step == name => Some((at, *code)),
        _ => None,
    };
    let end = records.iter().enumerate().skip(start).find_map(end);
    Some(Attempt { start, of, end })
}

#[cfg(test)]
mod tests {
    use coremax_node_api::{
        guid::Guid,
        join::{Edition, NodeKey},
    };
    use proptest::prelude::*;

    use super::*;

    fn formation(epoch: u64) -> Formation {
        Formation {
            cluster: Guid::literal(1),
            edition: Edition { epoch, digest: [0; 32] },
            generation: 0,
            seed: NodeKey([1; 32]),
        }
    }

    /// `begin EPOCH`, `start STEP INPUTS`, `end STEP CODE`, `finish ROWS`, `late`, with commas between them.
    fn records(text: &str) -> Vec<Record> {
        let record = |words: Vec<&str>| match words[..] {
            ["begin", epoch] => {
                Record::Begin { formation: formation(epoch.parse().unwrap()), at: 0 }
            }
            ["start", step, inputs] => {
                let inputs = [inputs.parse().unwrap(); 32];
                Record::Start { epoch: 2, step: step.into(), inputs, at: 0 }
            }
            ["end", step, code] => {
                let code = code.parse().unwrap();
                Record::End { epoch: 2, step: step.into(), code, is_skipped: false, at: 0 }
            }
            ["finish", rows] => Record::Finish { rows: [rows.parse().unwrap(); 32], at: 0 },
            ["late"] => Record::Late { at: 0 },
            _ => panic!("{words:?}"),
        };
        let lines = text.split(',').map(str::trim).filter(|line| !line.is_empty());
        lines.map(|line| record(line.split(' ').collect())).collect()
    }

    #[test]
    fn what_comes_after_what() {
        let step = |number, is_interrupted| Some(Next::Step { number, is_interrupted });
        let a = "begin 2, start a 1, end a 0";
        for (before, more, want) in [
            ("", "", Some(Next::Begin)),
            ("begin 2", "", step(0, false)),
            ("begin 2, start a 1", "", step(0, true)),
            ("begin 2, start a 1, end a 3", "", step(0, false)),
            ("begin 2, start a 1, end a 3, start a 1", "", step(0, true)),
            ("begin 2, start a 1, start a 1, end a 0", "", step(1, false)),
            (a, "", step(1, false)),
            (a, "start b 2", step(1, true)),
            (a, "start b 2, end b 1", step(1, false)),
            (a, "start b 2, end b 0", Some(Next::Finish)),
            (a, "start b 9, end b 0", step(1, false)), // b reads something else now
            ("begin 2, start a 9, end a 0, start b 2, end b 0", "", step(0, false)),
            // a was run again, and so b is
            (a, "start b 2, end b 0, start a 1, end a 0", step(1, false)),
            ("begin 2, start b 2, end b 0, start a 1, end a 0", "", step(1, false)),
            (a, "start gone 1, start b 2, end b 0", Some(Next::Finish)), // an update has no such step
            (a, "start b 2, end b 0, finish 1", Some(Next::Nothing)),
            ("begin 2, finish 1", "", Some(Next::Nothing)),
            // A machine came late.
            (a, "start b 2, end b 0, finish 7", Some(Next::Late)),
            (a, "start b 2, end b 0, finish 7, late", step(0, false)),
            (a, "start b 2, end b 0, finish 7, late, start a 1", step(0, true)),
            (a, "start b 2, end b 0, finish 7, late, start a 1, end a 0", step(1, false)),
            (
                "begin 2, finish 7, late, start a 1, end a 0",
                "start b 2, end b 0",
                Some(Next::Finish),
            ),
            (a, "finish 7, late, start b 2, end b 0, finish 1", Some(Next::Nothing)),
            (a, "finish 7, late, start b 2, end b 0, finish 8", Some(Next::Late)),
            ("begin 1, finish 7, late", "", None),
            ("begin 1, start a 1, end a 0", "", Some(Next::Begin)), // the operator signed another roster
            ("begin 1, start a 1, end a 0, begin 2", "", step(0, false)),
            ("begin 1, finish 1", "", None), // a cluster is deployed once
            ("begin 3, start a 1", "", None),
        ] {
            let journal = records(&format!("{before}, {more}"));
            let steps = [("a", [1; 32]), ("b", [2; 32])];
            let found = next(&journal, &formation(2), [1; 32], &steps);
            assert_eq!(found.ok(), want, "{before}, {more}");
            let found = next(&needed(&journal), &formation(2), [1; 32], &steps);
            assert_eq!(found.ok(), want, "shortened: {before}, {more}");
        }
    }

    proptest! {
        #[test]
        fn what_is_needed_says_the_same_and_is_little(
            words in prop::collection::vec(prop::sample::select(WORDS), 0..40),
        ) {
            let journal = records(&words.join(","));
            let kept = needed(&journal);
            prop_assert!(kept.len() <= 3 + 2 * 3);
            let steps = [("a", [1; 32]), ("b", [2; 32])];
            for epoch in 1..=3 {
                for rows in [[1; 32], [7; 32]] {
                    let next = |it: &[Record]| next(it, &formation(epoch), rows, &steps).ok();
                    prop_assert_eq!(next(&journal), next(&kept));
                }
            }
            prop_assert_eq!(is_late(&journal), is_late(&kept));
            prop_assert_eq!(&needed(&kept), &kept);
        }
    }

    const WORDS: &[&str] = &[
        "begin 1",
        "begin 2",
        "start a 1",
        "start a 9",
        "start b 2",
        "start gone 1",
        "end a 0",
        "end a 1",
        "end b 0",
        "end gone 0",
        "finish 1",
        "finish 7",
        "late",
    ];

    #[test]
    fn nobody_is_late_where_nothing_was_begun() {
        for (journal, want) in
            [("", false), ("late", false), ("late, begin 2", false), ("begin 2, late", true)]
        {
            assert_eq!(is_late(&records(journal)), want, "{journal}");
        }
    }

    #[test]
    fn a_rebuilt_seed_does_not_go_on_with_anothers() {
        let rebuilt = Formation { seed: NodeKey([2; 32]), ..formation(3) };
        let error = next(&records("begin 2"), &rebuilt, [1; 32], &[]).unwrap_err().to_string();
        assert!(error.contains("another formation (epoch 2"), "{error}");
    }
}
