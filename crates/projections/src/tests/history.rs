//! Histories made by `decide`, so that only what can happen is projected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use quillwork_app::ports::store::{Entry, Head};
use quillwork_domain::archive::{Candidate, Run, archive};
use quillwork_domain::chain;
use quillwork_domain::content::{self, ContentCommand, ContentRated, Rater};
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::id::{JobId, Position, StreamId, Version};
use quillwork_domain::job::{
    Command, ErrorClass, Event, Job, JobSubmitted, Phase, Rework, Spent, Usage, decide, evolve,
};
use quillwork_domain::payload::Payload;
use quillwork_domain::plan::{Backoff, Jitter, Plan, PlannedStage, StageIndex};
use quillwork_domain::queue::{self, QueueCommand, Queues};
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::log::MemoryLog;

/// What happens next, to which job.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Submit {
        run_at: Option<i64>,
        labels: bool,
    },
    Start,
    Record,
    Complete,
    /// Completes with the wish to go back to a stage.
    SendBack(u8),
    Fail(ErrorClass),
    Cancel,
    Retry,
    Resume,
    SetBudget,
    Abandon,
}

/// A log in the making.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) entries: Vec<Entry>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) queues: Queues,
    /// Entries that left the log. They stand in `entries`, too: as a projector saw them that was there in time.
    pub(crate) left: Vec<Entry>,
    runs: Vec<Run>,
    n_archives: u64,
    /// The versions of the streams of articles.
    articles: BTreeMap<JobId, Version>,
    now: i64,
}

pub(crate) fn job_id(n: u8) -> JobId {
    JobId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(n)))
}

pub(crate) fn submission(n_stages: usize, run_at: Option<i64>, labels: bool) -> JobSubmitted {
    let stage = |name: usize| PlannedStage {
        name: format!("stage-{name}"),
        handler: "echo".into(),
        max_attempts: 2,
        timeout_ms: 1_000,
        backoff: Backoff { initial_ms: 10, factor: 2, max_ms: 100 },
        max_rate_limited: 1,
        max_lost: 1,
        // The last two of three.
        beside_previous: name == 2,
    };
    let labels = if labels { BTreeMap::from([("team".into(), "blue".into())]) } else { BTreeMap::new() };
    JobSubmitted {
        run_at: run_at.map(Timestamp::from_millis),
        labels,
        ..JobSubmitted::new(
            "The \"Größe\" of\nthings".into(),
            "echo".into(),
            Plan::new((0..n_stages).map(stage).collect()).unwrap(),
        )
    }
}

pub(crate) fn payload() -> Payload {
    Payload::inline(RawValue::from_string(r#"{"x":1}"#.into()).unwrap()).unwrap()
}

/// What an `seo` stage gives an article.
pub(crate) fn seo(score: i64) -> Payload {
    let json = format!(r#"{{"kind":"seo","score":{score}.5,"checks":[]}}"#);
    Payload::inline(RawValue::from_string(json).unwrap()).unwrap()
}

pub(crate) fn view(count: u64) -> ContentCommand {
    ContentCommand::View { count }
}

pub(crate) fn rate(stars: u64, rater: Option<Rater>) -> ContentCommand {
    let stars = stars.try_into().unwrap();
    ContentCommand::Rate(ContentRated { stars, rater, idempotency_key: None, request_digest: None })
}

impl History {
    /// Gives the command that `step` stands for; a refused one changes nothing.
    pub(crate) fn step(&mut self, id: JobId, step: Step) {
        // No job is made twice.
        if self.left.iter().any(|entry| entry.recorded.stream == StreamId::Job(id)) {
            return;
        }
        self.now += 7;
        let at = Timestamp::from_millis(self.now);
        let job = self.jobs.entry(id).or_default().clone();
        // What has been started goes on, or starts, in turn.
        let open: Vec<StageIndex> = job.open().collect();
        let stage = open.get(self.now as usize % open.len().max(1)).copied().unwrap_or(job.current());
        let attempt = job.stage(stage).map(|stage| stage.attempt).unwrap_or_default();
        let complete = |rework| Command::CompleteStage {
            stage,
            attempt,
            output: if self.now % 3 == 0 { seo(self.now) } else { payload() },
            usage: Some(Usage { input_tokens: 3, output_tokens: 5 }),
            rework,
        };
        let command = match step {
            Step::Submit { run_at, labels } => Command::Submit(Arc::new(submission(
                1 + usize::from(id.0.as_bytes()[15] % 3),
                run_at,
                labels,
            ))),
            // Late enough for every backoff.
            Step::Start => {
                Command::StartStage { stage, worker: "worker-1".into(), at: at.plus(Duration::from_secs(9)) }
            }
            Step::Record => Command::RecordStep {
                stage,
                attempt,
                key: self.now.to_string(),
                output: payload(),
                spent: Some(Spent {
                    provider: "main".into(),
                    model: format!("writer-{}", self.now % 2),
                    input_tokens: 10,
                    output_tokens: 20,
                    cost_micros: 15,
                    prices: None,
                }),
            },
            Step::Complete => complete(None),
            Step::SendBack(to) => {
                complete(Some(Rework { to: format!("stage-{to}"), reason: "not good".into() }))
            }
            Step::Fail(class) => Command::FailStage {
                stage,
                attempt,
                class,
                message: "it \u{1F4A5} broke".into(),
                retry_after: None,
                jitter: Jitter(9),
                at,
            },
            Step::Cancel => Command::Cancel { reason: None },
            Step::Retry => Command::Retry,
            Step::Resume => Command::Resume,
            Step::SetBudget => Command::SetBudget { max_cost_micros: job.spent + 20 },
            Step::Abandon => {
                Command::Abandon { stage, class: ErrorClass::UnknownHandler, message: "nobody can".into() }
            }
        };
        let mut job = job;
        for event in decide(&job, command).unwrap_or_default() {
            let version = job.version.next();
            job = evolve(job, &event);
            self.record(StreamId::Job(id), version, event);
        }
        self.jobs.insert(id, job);
    }

    /// Gives a command of an operator.
    pub(crate) fn control(&mut self, command: QueueCommand) {
        self.now += 7;
        for event in queue::decide(&self.queues, command) {
            self.queues = queue::evolve(std::mem::take(&mut self.queues), &event);
            self.record(StreamId::Queues, self.queues.version, Event::Queue(event));
        }
    }

    /// A reader does something with the article of a job, if there is one or was.
    pub(crate) fn note(&mut self, id: JobId, command: ContentCommand) {
        let is_completed = self.jobs.get(&id).is_some_and(|job| job.phase == Phase::Completed);
        if !is_completed && !self.articles.contains_key(&id) {
            return;
        }
        self.now += 7;
        for event in content::decide(command) {
            let version = self.articles.entry(id).or_default();
            *version = version.next();
            let version = *version;
            self.record(StreamId::Content(id), version, Event::Content(event));
        }
    }

    /// The ended ones of these jobs leave the log: their events go to `left`, and one event says so.
    pub(crate) fn archive(&mut self, ids: impl IntoIterator<Item = JobId>) {
        self.now += 7;
        let ended = |id: &JobId| self.jobs.get(id).is_some_and(Job::is_terminal);
        let ids: BTreeSet<JobId> = ids.into_iter().filter(ended).collect();
        if ids.is_empty() {
            return;
        }
        let (gone, stay): (Vec<Entry>, Vec<Entry>) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| entry.recorded.stream.job().is_some_and(|job| ids.contains(&job)));
        let streams: Vec<(JobId, Vec<Recorded>)> = ids
            .iter()
            .map(|id| {
                let events = gone.iter().map(|entry| &entry.recorded);
                (*id, events.filter(|event| event.stream.job() == Some(*id)).cloned().collect())
            })
            .collect();
        let known = stay.iter().chain(&gone).chain(&self.left).map(|entry| &entry.recorded);
        let hashes = known.map(|event| (event.position, event.hash)).collect();
        let candidates: Vec<Candidate<'_>> = streams
            .iter()
            .map(|(job, events)| Candidate { job: *job, version: events.last().unwrap().version, events })
            .collect();
        let archived = archive(&candidates, &hashes, Timestamp::from_millis(self.now), None).unwrap();
        self.entries = [stay, gone.clone()].concat();
        self.entries.sort_unstable_by_key(|entry| entry.recorded.position);
        self.runs.extend(&archived.runs);
        self.runs.sort_unstable_by_key(|run| run.last);
        ids.iter().for_each(|id| drop(self.jobs.remove(id)));
        self.n_archives += 1;
        self.record(StreamId::Archive, Version(self.n_archives), Event::Archive(archived));
        self.left.extend(gone);
    }

    /// The log as it is: without what left it.
    pub(crate) fn log(&self) -> MemoryLog {
        let left: BTreeSet<Position> = self.left.iter().map(|entry| entry.recorded.position).collect();
        let mut log = MemoryLog::new(&self.entries);
        log.0.retain(|event| !left.contains(&event.position));
        log.1 = self.runs.clone();
        log
    }

    fn record(&mut self, stream: StreamId, version: Version, event: Event) {
        let encoded = wire::encode(&event).unwrap();
        let head = self.head();
        let mut recorded = Recorded {
            position: head.position.next(),
            stream,
            version,
            event_id: Uuid::from_u128(u128::from(head.position.0)),
            kind: encoded.kind.into(),
            schema_version: encoded.schema_version,
            data: encoded.data,
            meta: Meta {
                actor: "client".into(),
                tenant: if stream == StreamId::Job(job_id(4)) { "other" } else { "default" }.into(),
                correlation_id: Uuid::nil(),
                causation_id: None,
                traceparent: None,
            },
            recorded_at: Timestamp::from_millis(self.now),
            hash: chain::GENESIS,
        };
        recorded.hash = chain::link(&head.hash, &recorded);
        self.entries.push(Entry { recorded, event });
    }

    pub(crate) fn head(&self) -> Head {
        self.entries.last().map_or(Head::EMPTY, |entry| Head {
            position: entry.recorded.position,
            hash: entry.recorded.hash,
        })
    }
}

/// Some random history of a few jobs.
pub(crate) fn histories(n_steps: usize) -> impl Strategy<Value = History> {
    let step = prop_oneof![
        2 => (any::<Option<bool>>(), any::<bool>()).prop_map(|(run_at, labels)| Step::Submit {
            run_at: run_at.map(|future| if future { 4_000_000_000_000 } else { 1 }),
            labels,
        }),
        5 => Just(Step::Start),
        1 => Just(Step::Record),
        4 => Just(Step::Complete),
        1 => (0_u8..3).prop_map(Step::SendBack),
        2 => prop::sample::select(ErrorClass::ALL.to_vec()).prop_map(Step::Fail),
        1 => Just(Step::Cancel),
        1 => Just(Step::Retry),
        1 => Just(Step::Resume),
        1 => Just(Step::SetBudget),
        1 => Just(Step::Fail(ErrorClass::BudgetExhausted)),
        1 => Just(Step::Abandon),
    ];
    let act = prop_oneof![
        9 => (0_u8..6, step).prop_map(|(job, step)| Act::Step(job, step)),
        2 => (0_u8..6, note()).prop_map(|(job, command)| Act::Note(job, command)),
        1 => control().prop_map(Act::Control),
        1 => prop::collection::vec(0_u8..6, 1..4).prop_map(Act::Archive),
    ];
    prop::collection::vec(act, 1..n_steps).prop_map(|acts| {
        let mut history = History::default();
        for act in acts {
            match act {
                Act::Step(job, step) => history.step(job_id(job), step),
                Act::Control(command) => history.control(command),
                Act::Note(job, command) => history.note(job_id(job), command),
                Act::Archive(jobs) => history.archive(jobs.into_iter().map(job_id)),
            }
        }
        history
    })
}

#[derive(Clone, Debug)]
enum Act {
    Step(u8, Step),
    Control(QueueCommand),
    Note(u8, ContentCommand),
    Archive(Vec<u8>),
}

fn note() -> impl Strategy<Value = ContentCommand> {
    let rater = prop::option::of(0_u8..3).prop_map(|n| n.map(|n| Rater::of(job_id(0), &n.to_string())));
    prop_oneof![(1_u64..50).prop_map(view), (1_u64..=5, rater).prop_map(|(stars, rater)| rate(stars, rater))]
}

fn control() -> impl Strategy<Value = QueueCommand> {
    let handler = || prop::sample::select(vec!["echo".to_owned(), "research".to_owned()]);
    prop_oneof![
        (handler(), any::<bool>()).prop_map(|(handler, why)| QueueCommand::Pause {
            handler,
            reason: why.then(|| "bill".to_owned()),
        }),
        handler().prop_map(|handler| QueueCommand::Resume { handler }),
        (handler(), prop::option::of(0_u32..3))
            .prop_map(|(handler, max_running)| QueueCommand::Limit { handler, max_running }),
    ]
}
