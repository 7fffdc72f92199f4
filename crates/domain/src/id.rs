//! Newtypes for what must not be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(s.strip_prefix("job-").unwrap_or(s)).map(Self)
    }
}

/// A sequence of events that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// `job-<uuid>`.
    Job(JobId),
    /// `queues`: what operators did to the queues.
    Queues,
    /// `archive`: which jobs left the log.
    Archive,
    /// `content-<uuid>`: what readers did with the article of a job.
    Content(JobId),
}

/// The version of the UUIDs that streams of content are stored under. The ids of jobs are of version 7.
const CONTENT: u8 = 8;

impl StreamId {
    /// The job whose stream this is.
    pub fn job(self) -> Option<JobId> {
        match self {
            Self::Job(job) => Some(job),
            Self::Queues | Self::Archive | Self::Content(_) => None,
        }
    }

    /// As stored: the job's id; no job has the id of zeros, or of ones. For content it is the job's id with another version.
    pub fn to_uuid(self) -> Uuid {
        match self {
            Self::Job(job) => job.0,
            Self::Queues => Uuid::nil(),
            Self::Archive => Uuid::max(),
            Self::Content(job) => with_version(job.0, CONTENT),
        }
    }

    /// The stream that [`StreamId::to_uuid`] stands for.
    pub fn from_uuid(id: Uuid) -> Self {
        match id {
            id if id.is_nil() => Self::Queues,
            id if id.is_max() => Self::Archive,
            id if id.get_version_num() == usize::from(CONTENT) => Self::Content(JobId(with_version(id, 7))),
            id => Self::Job(JobId(id)),
        }
    }

    /// The stream called `name`, as [`StreamId`] is displayed.
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(id) = name.strip_prefix("content-") {
            return id.parse().ok().map(|id| Self::Content(JobId(id)));
        }
        match (name.strip_prefix("job-"), name) {
            (Some(id), _) => id.parse().ok().map(|id| Self::Job(JobId(id))),
            (None, "queues") => Some(Self::Queues),
            (None, "archive") => Some(Self::Archive),
            (None, _) => None,
        }
    }
}

/// The same id but for the four bits that say of which version it is.
fn with_version(id: Uuid, version: u8) -> Uuid {
    let mut bytes = id.into_bytes();
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    Uuid::from_bytes(bytes)
}

impl From<JobId> for StreamId {
    fn from(job: JobId) -> Self {
        Self::Job(job)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(job) => write!(f, "job-{job}"),
            Self::Queues => f.write_str("queues"),
            Self::Archive => f.write_str("archive"),
            Self::Content(job) => write!(f, "content-{job}"),
        }
    }
}

/// The place of an event in the whole log: 1 for the first, without a gap. Where jobs were archived there are holes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of an event in its stream: 1 for the first, without a gap; 0 is the empty stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The how-manieth start of a stage: 1 for the first.
///
/// It only ever grows, also over a manual retry, so that it tells a late result from a current one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl Attempt {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_come_back_from_their_names_and_from_what_is_stored() {
        let job = JobId("0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee".parse().unwrap());
        let streams = [
            (StreamId::Job(job), "job-0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"),
            (StreamId::Queues, "queues"),
            (StreamId::Archive, "archive"),
            (StreamId::Content(job), "content-0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"),
        ];
        for (stream, name) in streams {
            assert_eq!((stream.to_string().as_str(), StreamId::from_name(name)), (name, Some(stream)));
            assert_eq!(StreamId::from_uuid(stream.to_uuid()), stream);
        }
        let stored = StreamId::Content(job).to_uuid().to_string();
        assert_eq!(stored, "0190aaaa-bbbb-8ccc-8ddd-eeeeeeeeeeee");
        for name in ["content-", "content-x", "article", ""] {
            assert_eq!(StreamId::from_name(name), None);
        }
    }
}
