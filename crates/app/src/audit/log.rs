//! One pass over the log: every rule that can be checked event by event.

use std::collections::HashMap;

use quillwork_domain::archive::{JobsArchived, Run};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, Position, StreamId, Version};
use quillwork_domain::job::{Event, JobSubmitted, Phase};
use quillwork_domain::payload::{BlobRef, Payload, Sha256Digest};
use quillwork_domain::wire;
use sha2::{Digest, Sha256};

use crate::audit::chain::Chain;
use crate::audit::finding::{Finding, Findings, Report, Rule};
use crate::audit::holes::Holes;
use crate::audit::jobs::{Jobs, Known};
use crate::audit::queue::key_of;
use crate::audit::rules::{self, Demand};
use crate::ports::store::{Head, IdempotencyKey, KeyOwner};

/// Checks events in log order.
pub(super) struct LogAudit {
    pub(super) findings: Findings,
    pub(super) jobs: Jobs,
    pub(super) keys: KeyPrints,
    chain: Chain,
    events: u64,
    /// Streams may begin in the middle, because the log does.
    partial: bool,
    demand: Option<(JobId, Demand)>,
    /// The versions of the streams of the queues and of the archive.
    queues: Version,
    archive: Version,
    /// And those of the streams of articles.
    pub(super) contents: HashMap<JobId, Version>,
    pub(super) holes: Holes,
}

impl LogAudit {
    /// An audit of what comes after `position`, where the hash is `previous`; None takes the first link on trust.
    pub(super) fn after(position: Position, previous: Option<Sha256Digest>) -> Self {
        Self {
            findings: Findings::default(),
            jobs: Jobs::default(),
            keys: KeyPrints::default(),
            chain: Chain::after(position, previous),
            events: 0,
            partial: position > Position::START,
            demand: None,
            queues: Version::default(),
            archive: Version::default(),
            contents: HashMap::new(),
            holes: Holes::after(position),
        }
    }

    /// The last event that was read.
    pub(super) fn head(&self) -> Head {
        self.chain.head
    }

    /// How many events were read.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Checks the next event, and returns the output it refers to.
    pub(super) fn observe(&mut self, recorded: &Recorded) -> Option<BlobRef> {
        self.events += 1;
        self.chain.follow(recorded, &mut self.findings);
        let event = match wire::decode(recorded) {
            Ok(event) => event,
            Err(error) => {
                let message = match std::error::Error::source(&error) {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                };
                self.report(Rule::Decode, recorded, message);
                return None;
            }
        };
        self.check(recorded, &event);
        blob_of(&event)
    }

    fn check(&mut self, recorded: &Recorded, event: &Event) {
        let demanding = recorded.stream.job();
        let demand = match self.demand.take() {
            Some((job, demand)) if Some(job) == demanding => Some(demand),
            Some((job, demand)) => {
                self.unanswered(job, &demand);
                None
            }
            None => None,
        };
        let job = match recorded.stream {
            StreamId::Job(job) => job,
            StreamId::Queues => {
                self.queues = self.check_version(recorded, self.queues);
                if !matches!(event, Event::Queue(_)) {
                    let message = format!("{} in the stream of the queues", wire::kind(event));
                    self.report(Rule::Job, recorded, message);
                }
                return;
            }
            StreamId::Archive => {
                self.archive = self.check_version(recorded, self.archive);
                if let Event::Archive(archived) = event {
                    self.check_archived(recorded, archived);
                } else {
                    let message = format!("{} in the stream of the archive", wire::kind(event));
                    self.report(Rule::Job, recorded, message);
                }
                return;
            }
            StreamId::Content(article) => return self.check_content(recorded, article, event),
        };
        let version = match self.jobs.get(job) {
            Known::Live(live) if live.job.phase == Phase::New && recorded.version.0 > 1 && self.partial => {
                self.jobs.give_up(job);
                return;
            }
            Known::Live(live) => live.job.version,
            Known::Completed => {
                self.report(
                    Rule::Job,
                    recorded,
                    format!("{} after the job was completed", wire::kind(event)),
                );
                return;
            }
            Known::Unfollowed => return,
        };
        if recorded.version != version.next() {
            let message =
                format!("expected version {} of the stream, found {}", version.next(), recorded.version);
            self.report(Rule::Version, recorded, message);
            return;
        }
        if let Some(demand) = demand.as_ref().filter(|demand| demand.kind() != wire::kind(event)) {
            self.unanswered(job, demand);
            return;
        }
        let Known::Live(live) = self.jobs.get(job) else { return };
        match rules::check(&live.job, event, recorded.recorded_at, demand.as_ref()) {
            Ok(next) => self.demand = next.map(|next| (job, next)),
            Err(message) => {
                self.report(Rule::Job, recorded, message);
                return;
            }
        }
        if let Event::JobSubmitted(submitted) = event {
            self.take_key(recorded, job, submitted);
        }
        self.jobs.fold(job, event, recorded.recorded_at, &recorded.meta.tenant);
    }

    /// Goes on behind a hole.
    pub(super) fn jump(&mut self, run: &Run) {
        // What must follow directly may have left while the log was read.
        self.demand = None;
        self.chain.jump(run, &mut self.findings);
        self.holes.cross(run);
    }

    /// The position that comes next, if nothing is missing.
    pub(super) fn next(&self) -> Position {
        self.chain.next()
    }

    /// Compares what was archived with what is missing.
    fn check_archived(&mut self, recorded: &Recorded, archived: &JobsArchived) {
        for wrong in self.holes.told(recorded.position, archived) {
            self.report(Rule::Archive, recorded, wrong);
        }
        if self.holes.must_be_gone(recorded.position) {
            for job in archived.jobs.iter().filter(|job| self.jobs.has(job.id)) {
                let finding = Finding::new(Rule::Archive, "the job was archived, but events of it are there");
                self.findings.push(finding.at(recorded.position).of(job.id));
            }
        }
    }

    /// Checks the next version of a stream that is of no job, and returns it.
    pub(super) fn check_version(&mut self, recorded: &Recorded, before: Version) -> Version {
        let expected = before.next();
        // The beginning of the stream may not have been seen.
        let begins = self.partial && before == Version::default();
        if recorded.version != expected && !begins {
            let message = format!("expected version {expected} of the stream, found {}", recorded.version);
            self.report(Rule::Version, recorded, message);
        }
        recorded.version
    }

    fn take_key(&mut self, recorded: &Recorded, job: JobId, submitted: &JobSubmitted) {
        if let Some((key, owner)) = key_of(&recorded.meta.tenant, job, submitted)
            && !self.keys.insert(&key, &owner)
        {
            let finding =
                Finding::new(Rule::Keys, "a second job was submitted with the same idempotency key");
            self.findings.push(finding.at(recorded.position).of(job));
        }
    }

    /// Reports what is wrong with an event of a job, and stops following the job: what comes after would not fit either.
    pub(super) fn report(&mut self, rule: Rule, recorded: &Recorded, message: String) {
        self.findings.push(Finding::new(rule, message).at(recorded.position).of(recorded.stream));
        if let Some(job) = recorded.stream.job() {
            self.jobs.give_up(job);
        }
    }

    fn unanswered(&mut self, job: JobId, demand: &Demand) {
        let message =
            format!("the event that one append writes with the event before is missing: {}", demand.kind());
        let next = self.chain.head.position;
        self.findings.push(Finding::new(Rule::Job, message).at(next).of(job));
        self.jobs.give_up(job);
    }

    /// Reports something that could not be read as an event, and goes on behind it.
    pub(super) fn unreadable(&mut self, finding: Finding) {
        self.findings.push(finding);
        self.chain.skip();
        self.demand = None;
        // Any stream may have lost an event here.
        self.partial = true;
    }

    /// Checks what only shows at the end.
    pub(super) fn close(&mut self) {
        self.findings.line = None;
        if let Some((job, demand)) = self.demand.take() {
            self.unanswered(job, &demand);
        }
        for (position, message) in self.holes.untold() {
            self.findings.push(Finding::new(Rule::Archive, message).at(position));
        }
        if self.holes.is_archive() {
            let open = self.jobs.live().filter(|(_, live)| !live.job.is_terminal()).map(|(id, _)| id);
            for job in open.collect::<Vec<_>>() {
                let finding = Finding::new(Rule::Archive, "the archive does not have the end of the job");
                self.findings.push(finding.of(job));
            }
        }
    }

    /// What was found.
    pub(super) fn into_report(self, warnings: Vec<String>) -> Report {
        let jobs = self.jobs.len() as u64;
        let Head { position, hash } = self.chain.head;
        let (findings, unlisted) = self.findings.into_parts();
        Report {
            ok: findings.is_empty(),
            events: self.events,
            jobs,
            archived: self.holes.n_events(),
            head: position,
            head_hash: hash,
            findings,
            unlisted,
            warnings,
        }
    }
}

/// The output that an event refers to, if it was too large for the event.
fn blob_of(event: &Event) -> Option<BlobRef> {
    let payload = match event {
        Event::StepRecorded(step) => &step.output,
        Event::StageCompleted(completed) => &completed.output,
        Event::JobSubmitted(_)
        | Event::StageStarted(_)
        | Event::StageFailed(_)
        | Event::JobCompleted(_)
        | Event::JobFailed(_)
        | Event::JobCancelled(_)
        | Event::JobRetried(_)
        | Event::StagesReopened(_)
        | Event::JobPaused(_)
        | Event::JobResumed(_)
        | Event::BudgetSet(_)
        | Event::Queue(_)
        | Event::Archive(_)
        | Event::Content(_) => return None,
    };
    match payload {
        Payload::Inline(_) => None,
        Payload::Blob(blob) => Some(*blob),
    }
}

/// Idempotency keys with their owners, in 32 bytes each.
#[derive(Default)]
pub(super) struct KeyPrints {
    owners: HashMap<u128, u128>,
}

impl KeyPrints {
    /// False if the key was there already.
    pub(super) fn insert(&mut self, key: &IdempotencyKey, owner: &KeyOwner) -> bool {
        self.owners.insert(print_key(key), print_owner(owner)).is_none()
    }

    /// Takes the key out; false if it was not there, or has another owner.
    pub(super) fn remove(&mut self, key: &IdempotencyKey, owner: &KeyOwner) -> bool {
        self.owners.remove(&print_key(key)) == Some(print_owner(owner))
    }

    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }
}

fn print_key(key: &IdempotencyKey) -> u128 {
    let mut hash = Sha256::new();
    hash.update((key.tenant.len() as u64).to_le_bytes());
    hash.update(&key.tenant);
    hash.update(&key.key);
    shorten(hash.finalize().into())
}

fn print_owner(owner: &KeyOwner) -> u128 {
    let mut hash = Sha256::new();
    hash.update(owner.job.0.as_bytes());
    hash.update(owner.digest.0);
    shorten(hash.finalize().into())
}

/// Half of a digest: enough to tell things apart.
pub(super) fn shorten(digest: [u8; 32]) -> u128 {
    let [first @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest;
    u128::from_le_bytes(first)
}
