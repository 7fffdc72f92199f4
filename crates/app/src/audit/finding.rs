//! What an audit found.

use std::fmt;

use quillwork_domain::chain;
use quillwork_domain::id::{JobId, Position, StreamId};
use quillwork_domain::payload::Sha256Digest;
use serde::Serialize;

/// This many findings are listed; the rest is counted.
const MAX_LISTED: usize = 100;

/// Which promise of the log is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A line of an export is one event, written as the export writes it.
    Line,
    /// Positions count from 1, without a gap but where jobs were archived.
    Position,
    /// Each event holds the hash of its fields and of the event before it.
    Hash,
    /// The versions of a stream count from 1 without a gap.
    Version,
    /// Every event can be read.
    Decode,
    /// The events of a job are ones that its plan allows, in an order that it allows.
    Job,
    /// Only the article of a completed job is viewed and rated.
    Content,
    /// Jobs are missing where an event says that they were archived, and nowhere else.
    Archive,
    /// The log ends where it is said to end.
    Head,
    /// The queue is what follows from the log.
    Queue,
    /// The idempotency keys are those of the submitted jobs.
    Keys,
    /// Every output that an event refers to is there and has its digest.
    Blob,
    /// The storage engine finds nothing wrong with its files.
    Store,
}

impl Rule {
    /// The name as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Position => "position",
            Self::Hash => "hash",
            Self::Version => "version",
            Self::Decode => "decode",
            Self::Job => "job",
            Self::Content => "content",
            Self::Archive => "archive",
            Self::Head => "head",
            Self::Queue => "queue",
            Self::Keys => "keys",
            Self::Blob => "blob",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub rule: Rule,
    /// The event, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The line of the export, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// For people: what was expected, and what was found.
    pub message: String,
}

impl Finding {
    /// A finding about no event in particular.
    pub(super) fn new(rule: Rule, message: impl Into<String>) -> Self {
        Self { rule, position: None, line: None, job: None, message: message.into() }
    }

    pub(super) fn at(self, position: Position) -> Self {
        Self { position: Some(position), ..self }
    }

    pub(super) fn of(self, stream: impl Into<StreamId>) -> Self {
        Self { job: stream.into().job(), ..self }
    }
}

/// The outcome of an audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// True if nothing is wrong; warnings do not count.
    pub ok: bool,
    /// How many events were read.
    pub events: u64,
    /// How many jobs they belong to.
    pub jobs: u64,
    /// How many events left the log, or are not in the file.
    pub archived: u64,
    /// The position of the last event; 0 if there was none.
    pub head: Position,
    /// The hash of the last event, as it is stored.
    pub head_hash: Sha256Digest,
    /// The first hundred.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub unlisted: u64,
    /// What is not wrong and should be known.
    pub warnings: Vec<String>,
}

impl Report {
    /// The report on a store that is too damaged to be opened.
    pub fn unopened(message: String) -> Self {
        Self {
            ok: false,
            events: 0,
            jobs: 0,
            archived: 0,
            head: Position::START,
            head_hash: chain::GENESIS,
            findings: vec![Finding::new(Rule::Store, message)],
            unlisted: 0,
            warnings: vec![],
        }
    }
}

/// Lists the first findings and counts the rest.
#[derive(Debug, Default)]
pub(super) struct Findings {
    listed: Vec<Finding>,
    unlisted: u64,
    /// The line that is being read, while an export is.
    pub(super) line: Option<u64>,
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        if self.listed.len() < MAX_LISTED {
            self.listed.push(Finding { line: self.line, ..finding });
        } else {
            self.unlisted += 1;
        }
    }

    /// The listed findings, and how many more there are.
    pub(super) fn into_parts(self) -> (Vec<Finding>, u64) {
        (self.listed, self.unlisted)
    }
}
