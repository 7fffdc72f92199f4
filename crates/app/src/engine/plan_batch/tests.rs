//! Given jobs and a queue, when commands come together, then this is written and handed out.

use quillwork_domain::content::{ContentCommand, ContentRated};
use quillwork_domain::job::{JobSubmitted, Rejection};
use quillwork_domain::payload::Payload;
use quillwork_domain::plan::{Backoff, Jitter, Plan, PlannedStage};
use serde_json::value::RawValue;

use quillwork_domain::job::ErrorClass;

use super::*;
use crate::engine::Noted;
use crate::engine::queue::Queues;
use crate::engine::supply::Found;
use crate::engine::supply::Supply;
use crate::ports::store::TaskWrite;

const LEASE: LeaseToken = LeaseToken(7);
const NOW: i64 = 1_000;

fn submission(priority: i16, key: Option<&str>, body: &str) -> Command {
    let stage = |name: &str| PlannedStage {
        name: name.into(),
        handler: "echo".into(),
        max_attempts: 2,
        timeout_ms: 1_000,
        backoff: Backoff { initial_ms: 100, factor: 2, max_ms: 1_000 },
        max_rate_limited: 1,
        max_lost: 1,
        beside_previous: false,
    };
    Command::Submit(Arc::new(JobSubmitted {
        priority,
        idempotency_key: key.map(str::to_owned),
        request_digest: key.map(|_| Sha256Digest::of(body.as_bytes())),
        ..JobSubmitted::new(
            "topic".into(),
            "echo".into(),
            Plan::new(vec![stage("one"), stage("two")]).unwrap(),
        )
    }))
}

fn job(id: u128) -> JobId {
    JobId(Uuid::from_u128(id))
}

fn client() -> Authority {
    let meta = Meta {
        actor: "client".into(),
        tenant: "default".into(),
        correlation_id: Uuid::from_u128(99),
        causation_id: None,
        traceparent: None,
    };
    Authority { meta, held_by: Holder::Anyone }
}

fn worker() -> Authority {
    Authority { held_by: Holder::Lease(LEASE), ..client() }
}

/// An engine's memory without an engine, and the queue of a store.
struct Desk {
    cache: Cache,
    queues: Queues,
    controls: queue::Queues,
    stored: BTreeMap<TaskKey, (Task, Option<LeaseToken>)>,
    head: Head,
    backlog: u64,
}

impl Desk {
    fn new() -> Self {
        Self {
            cache: Cache::new(1 << 20),
            queues: Queues::new(["echo".into()].into_iter()),
            controls: queue::Queues::default(),
            stored: BTreeMap::new(),
            head: Head::EMPTY,
            backlog: 0,
        }
    }

    /// Plans one batch with this many free slots, and takes it for committed.
    fn plan<T>(&mut self, n_free: usize, decide: impl FnOnce(&mut BatchPlan<'_>) -> T) -> (T, Planned) {
        let mut n_ids = 0;
        let mut new_event_id = || {
            n_ids += 1;
            Uuid::from_u128(n_ids)
        };
        let worker: Arc<str> = "worker".into();
        let circumstances = Circumstances {
            now: Timestamp::from_millis(NOW),
            head: self.head,
            worker: &worker,
            lease: LEASE,
            exclusive: true,
            backlog: self.backlog,
            max_backlog: 3,
            owners: BTreeMap::new(),
            new_event_id: &mut new_event_id,
        };
        let waiting = self.stored.values().filter(|(_, lease)| lease.is_none()).map(|(task, _)| task.clone());
        let mut tasks = self.queues.line("echo", waiting.collect(), vec![], true);
        let exhausted = tasks.len() < n_free;
        tasks.truncate(n_free);
        let supply = Supply {
            room: BTreeMap::from([("echo".into(), n_free)]),
            found: BTreeMap::from([("echo".into(), Found { tasks, exhausted, trimmed: false })]),
            relieved: vec![],
        };
        let mut plan = BatchPlan::new(circumstances, &mut self.cache, self.controls.clone());
        let answer = decide(&mut plan);
        plan.fill(&mut self.queues, supply);
        let planned = plan.finish();
        self.head = planned.head;
        self.controls = planned.controls.clone();
        for write in &planned.batch.tasks {
            match write.clone() {
                TaskWrite::Insert { task, lease } => {
                    self.stored.insert(task.key, (task, lease));
                }
                TaskWrite::Move { key, lease, run_at, .. } => {
                    let stored = self.stored.get_mut(&key).unwrap();
                    stored.1 = lease;
                    stored.0.run_at = run_at.unwrap_or(stored.0.run_at);
                }
                TaskWrite::Delete { key, .. } => {
                    self.stored.remove(&key).unwrap();
                }
            }
        }
        self.backlog = self.backlog.saturating_add_signed(planned.growth);
        (answer, planned)
    }
}

fn kinds(planned: &Planned) -> Vec<(u128, &str)> {
    planned
        .batch
        .entries
        .iter()
        .map(|entry| (entry.recorded.stream.to_uuid().as_u128(), entry.recorded.kind.as_ref()))
        .collect()
}

fn completed() -> Command {
    let json = RawValue::from_string("1".into()).unwrap();
    let output = Payload::inline(json).unwrap();
    Command::CompleteStage { stage: StageIndex(0), attempt: Attempt(1), output, usage: None, rework: None }
}

#[test]
fn a_submission_with_a_free_slot_starts_in_the_same_commit() {
    let mut desk = Desk::new();
    let (accepted, planned) =
        desk.plan(1, |plan| plan.request(job(1), &submission(0, None, ""), None, &client()));
    assert_eq!(accepted.unwrap().status, Status::Queued);
    assert_eq!(kinds(&planned), [(1, "JobSubmitted"), (1, "StageStarted")]);
    assert!(matches!(&planned.batch.tasks[..], [TaskWrite::Insert { lease: Some(LEASE), .. }]));
    assert_eq!((planned.started.len(), planned.growth), (1, 1));
    let causes: Vec<_> = planned.batch.entries.iter().map(|entry| entry.recorded.meta.causation_id).collect();
    assert_eq!(causes, [None, Some(planned.batch.entries[0].recorded.event_id)]);
}

#[test]
fn without_a_free_slot_it_waits() {
    let mut desk = Desk::new();
    let (_, planned) = desk.plan(0, |plan| plan.request(job(1), &submission(0, None, ""), None, &client()));
    assert_eq!(kinds(&planned), [(1, "JobSubmitted")]);
    assert!(matches!(&planned.batch.tasks[..], [TaskWrite::Insert { lease: None, .. }]));
    let (_, planned) = desk.plan(1, |_| ());
    assert_eq!(kinds(&planned), [(1, "StageStarted")]);
    assert!(matches!(
        &planned.batch.tasks[..],
        [TaskWrite::Move { held_by: Holder::Nobody, lease: Some(LEASE), run_at: None, .. }]
    ));
}

#[test]
fn a_result_and_the_next_start_share_a_commit_unless_someone_more_urgent_waits() {
    let mut desk = Desk::new();
    desk.plan(1, |plan| plan.request(job(1), &submission(0, None, ""), None, &client())).0.unwrap();
    let (_, planned) = desk.plan(1, |plan| plan.apply(job(1), completed(), &worker()));
    assert_eq!(kinds(&planned), [(1, "StageCompleted"), (1, "StageStarted")]);

    let mut desk = Desk::new();
    desk.plan(1, |plan| plan.request(job(1), &submission(0, None, ""), None, &client())).0.unwrap();
    desk.plan(0, |plan| plan.request(job(2), &submission(9, None, ""), None, &client())).0.unwrap();
    let (_, planned) = desk.plan(1, |plan| plan.apply(job(1), completed(), &worker()));
    assert_eq!(kinds(&planned), [(1, "StageCompleted"), (2, "StageStarted")]);
    assert_eq!(planned.batch.tasks.len(), 3);
}

#[test]
fn a_job_that_has_begun_goes_before_those_that_came_later() {
    let mut desk = Desk::new();
    desk.plan(1, |plan| plan.request(job(1), &submission(0, None, ""), None, &client())).0.unwrap();
    desk.plan(0, |plan| plan.request(job(2), &submission(0, None, ""), None, &client())).0.unwrap();
    let (_, planned) = desk.plan(1, |plan| plan.apply(job(1), completed(), &worker()));
    assert_eq!(kinds(&planned), [(1, "StageCompleted"), (1, "StageStarted")]);
}

#[test]
fn a_conflict_gets_its_own_verdict_and_is_left_out() {
    let mut desk = Desk::new();
    let ((first, unknown, twice), planned) = desk.plan(0, |plan| {
        let first = plan.request(job(1), &submission(0, None, ""), None, &client());
        let unknown = plan.request(job(8), &Command::Retry, None, &client());
        let twice = plan.request(job(1), &Command::Retry, None, &client());
        (first, unknown, twice)
    });
    assert!(first.is_ok());
    assert_eq!(unknown, Err(Rejection::NotFound.into()));
    assert_eq!(twice, Err(Rejection::NotRetryable(Status::Queued).into()));
    assert_eq!(kinds(&planned), [(1, "JobSubmitted")]);
}

#[test]
fn one_key_makes_one_job_also_within_a_batch() {
    let mut desk = Desk::new();
    let key = IdempotencyKey { tenant: "default".into(), key: "k".into() };
    let (answers, planned) = desk.plan(0, |plan| {
        [(1, "a"), (2, "a"), (3, "b")]
            .map(|(id, body)| plan.request(job(id), &submission(0, Some("k"), body), Some(&key), &client()))
    });
    let [first, second, third] = answers;
    assert_eq!((first.as_ref().unwrap().job, first.unwrap().replayed), (job(1), false));
    assert_eq!((second.as_ref().unwrap().job, second.unwrap().replayed), (job(1), true));
    assert_eq!(third, Err(Refusal::KeyReused("k".into())));
    assert_eq!((planned.batch.entries.len(), planned.batch.keys.len()), (1, 1));
}

#[test]
fn the_backlog_is_bounded_within_a_batch() {
    let mut desk = Desk::new();
    let (answers, planned) = desk.plan(0, |plan| {
        [1, 2, 3, 4].map(|id| plan.request(job(id), &submission(0, None, ""), None, &client()).is_ok())
    });
    assert_eq!(answers, [true, true, true, false]);
    assert_eq!(planned.growth, 3);
}

#[test]
fn a_cancelled_attempt_is_told_and_its_late_word_writes_nothing() {
    let mut desk = Desk::new();
    desk.plan(1, |plan| plan.request(job(1), &submission(0, None, ""), None, &client())).0.unwrap();
    let (_, planned) = desk.plan(0, |plan| plan.apply(job(1), Command::Cancel { reason: None }, &client()));
    assert_eq!(planned.cancelled, [RunKey { job: job(1), stage: StageIndex(0), attempt: Attempt(1) }]);
    let ((counts, said), planned) =
        desk.plan(1, |plan| (plan.holds(job(1), &completed()), plan.apply(job(1), completed(), &worker())));
    assert!(!counts && said.is_ok());
    assert!(planned.batch.entries.is_empty());
}

#[test]
fn what_may_be_behind_stays_so_without_an_event() {
    let set = |max_cost_micros| Command::SetBudget { max_cost_micros };
    for (command, is_ok, is_exact) in
        [(set(1), true, false), (Command::Resume, false, false), (set(2), true, true)]
    {
        let mut desk = Desk::new();
        desk.plan(0, |plan| plan.request(job(1), &submission(0, None, ""), None, &client())).0.unwrap();
        desk.plan(0, |plan| plan.request(job(1), &set(1), None, &client())).0.unwrap();
        // Another process has written.
        desk.cache.outdate();
        let (answer, planned) = desk.plan(0, |plan| plan.request(job(1), &command, None, &client()));
        assert_eq!(answer.is_ok(), is_ok, "{command:?}");
        assert_eq!((desk.cache.is_exact(job(1)), !planned.batch.entries.is_empty()), (is_exact, is_exact));
        assert!(desk.cache.peek(job(1)).is_some());
    }
}

#[test]
fn a_failure_waits_for_its_time_and_sets_the_timer() {
    let mut desk = Desk::new();
    desk.plan(1, |plan| plan.request(job(1), &submission(0, None, ""), None, &client())).0.unwrap();
    let failed = Command::FailStage {
        stage: StageIndex(0),
        attempt: Attempt(1),
        class: ErrorClass::Transient,
        message: "no".into(),
        retry_after: Some(Duration::from_millis(500)),
        jitter: Jitter(0),
        at: Timestamp::from_millis(NOW),
    };
    let (_, planned) = desk.plan(1, |plan| plan.apply(job(1), failed, &worker()));
    assert_eq!(kinds(&planned), [(1, "StageFailed")]);
    assert!(planned.started.is_empty());
    assert!(desk.queues.next_due.is_some_and(|due| due <= Timestamp::from_millis(NOW + 500)));
}

#[test]
fn positions_and_hashes_follow_the_head() {
    let mut desk = Desk::new();
    let mut previous = chain::GENESIS;
    let mut position = 0;
    for id in 1..=3 {
        let (_, planned) =
            desk.plan(1, |plan| plan.request(job(id), &submission(0, None, ""), None, &client()));
        for entry in planned.batch.entries {
            position += 1;
            assert_eq!(entry.recorded.position, Position(position));
            assert_eq!(entry.recorded.hash, chain::link(&previous, &entry.recorded));
            previous = entry.recorded.hash;
        }
    }
    assert_eq!(desk.head, Head { position: Position(6), hash: previous });
}

#[test]
fn what_others_want_to_know_goes_with_the_batch() {
    let mut desk = Desk::new();
    let (_, planned) = desk.plan(1, |plan| plan.request(job(1), &submission(0, None, ""), None, &client()));
    assert!(planned.batch.news.waiting.is_empty() && !planned.batch.adds_to_queue());
    let (_, planned) = desk.plan(0, |plan| plan.request(job(2), &submission(0, None, ""), None, &client()));
    assert_eq!(planned.batch.news.waiting, BTreeSet::from(["echo".into()]));
    assert!(planned.batch.adds_to_queue());
    let (_, planned) = desk.plan(0, |plan| plan.apply(job(1), Command::Cancel { reason: None }, &client()));
    assert!(planned.batch.news.cancelled);
}

#[test]
fn a_paused_queue_starts_nothing_from_the_batch_that_pauses_it() {
    let mut desk = Desk::new();
    let pause = QueueCommand::Pause { handler: "echo".into(), reason: None };
    let (_, planned) = desk.plan(1, |plan| {
        let submitted = plan.request(job(1), &submission(0, None, ""), None, &client());
        let paused = plan.control(&pause, &client().meta);
        (submitted.unwrap(), paused.unwrap(), plan.control(&pause, &client().meta).unwrap())
    });
    assert_eq!(kinds(&planned), [(1, "JobSubmitted"), (0, "QueuePaused")]);
    assert!(planned.controls.control("echo").paused);
    assert!(planned.batch.adds_to_queue());
}

#[test]
fn what_readers_do_is_in_the_batch_with_everything_else() {
    let mut desk = Desk::new();
    let (one, two) = (JobId(Uuid::now_v7()), JobId(Uuid::now_v7()));
    desk.cache.versions.put(one, Version(7));
    desk.cache.versions.put(two, Version(0));
    let view = ContentCommand::View { count: 3 };
    let (noted, planned) = desk.plan(0, |plan| {
        let meta = client().meta;
        plan.request(job(1), &submission(0, None, ""), None, &client()).unwrap();
        [(one, &view), (two, &view), (one, &rating("k", 4)), (one, &rating("k", 4)), (one, &rating("k", 5))]
            .map(|(article, command)| plan.note(article, command, &meta))
    });
    let at = |position| Noted { position: Position(position), replayed: false };
    let again = Noted { position: Position(4), replayed: true };
    assert_eq!(noted, [Ok(at(2)), Ok(at(3)), Ok(at(4)), Ok(again), Err(Refusal::KeyReused("k".into()))]);
    let events: Vec<_> = planned.batch.entries[1..]
        .iter()
        .map(|entry| (entry.recorded.stream, entry.recorded.version, entry.recorded.kind.as_ref()))
        .collect();
    assert_eq!(
        events,
        [
            (StreamId::Content(one), Version(8), "ContentViewed"),
            (StreamId::Content(two), Version(1), "ContentViewed"),
            (StreamId::Content(one), Version(9), "ContentRated"),
        ]
    );
    assert_eq!((planned.batch.keys.len(), planned.growth), (1, 1));
    assert_eq!(desk.cache.versions.exact(one), Some(Version(9)));
}

/// A rating under a key.
fn rating(key: &str, stars: u64) -> ContentCommand {
    ContentCommand::Rate(ContentRated {
        stars: stars.try_into().unwrap(),
        rater: None,
        idempotency_key: Some(key.into()),
        request_digest: Some(Sha256Digest::of(&stars.to_le_bytes())),
    })
}
