//! Waits until the machine is told its cluster.

use std::{path::Path, thread, time::Duration};

use anyhow::Result;
use coremax_node_api::{
    cluster_status::{ClusterStatus, Wait},
    identity::{Choice, Document, command_line::CommandLine},
    join::Now,
};

use super::options::Options;
use crate::{
    clock, cluster_status,
    events::{Event, tell},
    identity::{self, Untold},
};

/// How soon a medium that somebody puts in is seen.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The document in the file that was named; without one that which some place has, however long that takes. What
/// keeps the machine from it stands on its page meanwhile.
///
/// # Errors
/// Where there is none in the file that was named.
pub(super) fn document(options: &Options, line: &CommandLine) -> Result<Document> {
    let mut said = None;
    loop {
        let told = match &options.identity {
            Some(path) => identity::read(path),
            None => identity::chosen(line).map(heard),
        };
        let error = match told {
            Ok(document) => return Ok(document),
            Err(error) => error,
        };
        let why = Some(format!("{error:#}"));
        if said != why {
            tell(Event::Identity, why.as_deref().unwrap_or_default(), &[]);
            say(problem(&error), &options.status);
            said = why;
        }
        if options.identity.is_some() {
            return Err(error);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// The document that holds. What says otherwise is told once; media are looked into beside the join, which waits for none.
fn heard(choice: Choice) -> Document {
    let document = choice.document.clone();
    let look = move || {
        choice.ignored.iter().for_each(|line| ignored(line));
        match identity::unheard(&choice) {
            Ok(lines) => lines.iter().for_each(|line| ignored(line)),
            Err(error) => ignored(&format!("{error:#}")),
        }
    };
    if let Err(error) = thread::Builder::new().name("media".into()).spawn(look) {
        eprintln!("looking for other identities: {error}");
    }
    document
}

fn ignored(line: &str) {
    tell(Event::IdentityIgnored, &format!("ignored: {line}"), &[]);
}

/// Nobody to tell it is none: the page says what it waits for. Somebody who tried is.
fn problem(error: &anyhow::Error) -> Option<String> {
    if let Some(Untold { unknown }) = error.downcast_ref() {
        return (!unknown.is_empty()).then(|| unknown.join("; "));
    }
    Some(match identity::hint(error) {
        Some(hint) => format!("{error:#}; {hint}"),
        None => format!("{error:#}"),
    })
}

/// The page of a machine that is nowhere yet; one with a problem waits for nothing that a person could bring.
pub(super) fn say(problem: Option<String>, path: &Path) {
    let now = Now { mono: 0, wall: clock::wall() };
    let waits = if problem.is_some() { Wait::Nothing } else { Wait::Identity };
    let status = ClusterStatus { waits, ..ClusterStatus::blank(now, problem) };
    if let Err(error) = cluster_status::publish(path, &status) {
        eprintln!("{error:#}");
    }
}
