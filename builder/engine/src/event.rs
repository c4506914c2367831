//! What a build tells while it runs: for people, or as JSON lines.

use serde::Serialize;

/// One thing that happened. Serialised as `{"event": "...", ...}`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A stage began.
    Started {
        /// Its name: one word, such as `fetch`.
        stage: String,
        /// What it is about to do.
        what: String,
        /// How much there is to do, where that is known.
        total: Option<u64>,
        /// What `total` and `Progressed::by` count.
        unit: Unit,
    },
    /// A stage got on.
    Progressed {
        /// Its name.
        stage: String,
        /// How much was done since the last event.
        by: u64,
        /// What it is busy with, where that is worth a word.
        what: Option<String>,
    },
    /// A stage ended well.
    Ended {
        /// Its name.
        stage: String,
        /// What came of it, in a few words.
        summary: String,
        /// Wall-clock seconds; absent where it took none worth telling.
        seconds: Option<f64>,
    },
    /// Something the user should know that does not stop the build.
    Warned {
        /// The stage it belongs to.
        stage: String,
        /// The warning.
        message: String,
    },
    /// A file or folder was made for the user.
    Made {
        /// Its path.
        path: String,
    },
}

/// What a stage's amounts count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: packages, checks.
    Count,
}

/// Takes events, from any thread.
pub type Observer<'a> = &'a (dyn Fn(Event) + Sync);

/// A stage that tells of itself under its name.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    name: &'a str,
    observer: Observer<'a>,
}

impl<'a> Stage<'a> {
    /// The stage `name`, which speaks to `observer`.
    pub fn new(name: &'a str, observer: Observer<'a>) -> Self {
        Self { name, observer }
    }

    /// It begins.
    pub fn started(&self, what: impl Into<String>, total: Option<u64>, unit: Unit) {
        let (stage, what) = (self.name.to_owned(), what.into());
        (self.observer)(Event::Started { stage, what, total, unit });
    }

    /// It got on by this much.
    pub fn progressed(&self, by: u64) {
        (self.observer)(Event::Progressed { stage: self.name.to_owned(), by, what: None });
    }

    /// It is busy with this now.
    pub fn busy_with(&self, what: impl Into<String>) {
        let (stage, what) = (self.name.to_owned(), Some(what.into()));
        (self.observer)(Event::Progressed { stage, by: 0, what });
    }

    /// It is done.
    pub fn ended(&self, summary: impl Into<String>, seconds: Option<f64>) {
        let (stage, summary) = (self.name.to_owned(), summary.into());
        (self.observer)(Event::Ended { stage, summary, seconds });
    }

    /// It has a warning.
    pub fn warned(&self, message: impl Into<String>) {
        let (stage, message) = (self.name.to_owned(), message.into());
        (self.observer)(Event::Warned { stage, message });
    }
}
