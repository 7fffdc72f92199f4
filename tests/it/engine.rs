//! The engine and the workers on a real store: what happens to jobs when stages and stores misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use quillwork_app::archive::{ArchiveError, ArchiveWish};
use quillwork_app::engine::{EngineConfig, Refusal};
use quillwork_domain::archive::Kept;
use quillwork_domain::id::{JobId, Version};
use quillwork_domain::job::{ErrorClass, Job, JobSubmitted, Phase, StagePhase};
use quillwork_domain::payload::{Payload, Sha256Digest};
use quillwork_domain::time::Timestamp;
use quillwork_tests::stack::{Deed, Ground, Handlers, Stack, caller, config, job, job_of, n_running, runs};
use quillwork_worker::stage::StageError;
use tokio::sync::watch;

quillwork_tests::on_every_store!(
    a_job_of_two_stages_takes_six_events,
    many_jobs_all_complete_and_leave_no_task,
    failures_are_retried_and_the_last_one_ends_the_job,
    a_stage_that_hangs_is_cut_off_and_others_go_on,
    a_large_output_becomes_a_blob,
    a_cancelled_job_stops_its_stage_and_frees_the_slot,
    a_key_stands_for_one_job_also_after_a_restart,
    a_bulkhead_bounds_its_stage_and_nothing_else,
    priority_decides_who_gets_a_slot,
    a_scheduled_job_starts_on_time,
    a_full_house_is_refused_and_empties,
    what_ran_when_the_process_stopped_runs_again_without_its_finished_steps,
    an_ended_job_leaves_the_log_and_an_open_one_stays,
    the_stages_of_a_group_run_at_the_same_time,
    the_final_failure_of_one_stage_ends_those_beside_it,
    a_job_that_is_sent_back_runs_again_with_what_was_said_of_it,
);

fn echo() -> Handlers {
    Handlers::default().with("echo", 8, |_| Deed::Return("done"))
}

async fn a_job_of_two_stages_takes_six_events(ground: Ground) {
    let stack = Stack::start(&ground, echo()).await;
    let id = stack.submit(job(&["echo", "echo"])).await.unwrap().job;
    let ended = stack.ended(id).await;
    assert_eq!(ended.phase, Phase::Completed);
    assert_eq!(
        stack.kinds(id).await,
        ["JobSubmitted", "StageStarted", "StageCompleted", "StageStarted", "StageCompleted", "JobCompleted"]
    );
    stack.stop().await;
}

async fn many_jobs_all_complete_and_leave_no_task(ground: Ground) {
    let stack = Stack::start(&ground, echo()).await;
    let mut ids = Vec::new();
    for _ in 0..500 {
        ids.push(stack.submit(job(&["echo", "echo"])).await.unwrap().job);
    }
    for id in &ids {
        assert_eq!(stack.ended(*id).await.phase, Phase::Completed);
    }
    let log = stack.log().await;
    assert_eq!(log.len(), 3_000);
    assert!(log.iter().enumerate().all(|(index, event)| event.position.0 == index as u64 + 1));
    assert!(stack.reader.tasks(None, 10).await.unwrap().is_empty());
    stack.stop().await;
}

async fn failures_are_retried_and_the_last_one_ends_the_job(ground: Ground) {
    let handlers = Handlers::default()
        .with("recovers", 1, |attempt| match attempt {
            1 => Deed::Fail(StageError::new(ErrorClass::Transient, "not yet")),
            2 => Deed::Panic,
            _ => Deed::Return("done"),
        })
        .with("never", 1, |_| Deed::Fail(StageError::new(ErrorClass::Transient, "never")));
    let stack = Stack::start(&ground, handlers).await;
    let recovers = stack.submit(job(&["recovers"])).await.unwrap().job;
    let never = stack.submit(job(&["never"])).await.unwrap().job;
    assert_eq!(stack.ended(recovers).await.phase, Phase::Completed);
    assert_eq!(
        stack.kinds(recovers).await,
        [
            "JobSubmitted",
            "StageStarted",
            "StageFailed transient",
            "StageStarted",
            "StageFailed panic",
            "StageStarted",
            "StageCompleted",
            "JobCompleted"
        ]
    );
    let ended = stack.ended(never).await;
    assert_eq!((ended.phase, ended.stages[0].attempt.0), (Phase::Failed, 3));
    assert_eq!(ended.error.unwrap().message, "never");
    stack.stop().await;
}

async fn a_stage_that_hangs_is_cut_off_and_others_go_on(ground: Ground) {
    let handlers = echo().with("hangs", 1, |_| Deed::Hang);
    let stack = Stack::start(&ground, handlers).await;
    let mut hanging = job(&["hangs"]);
    let mut stages = hanging.plan.stages().to_vec();
    stages[0].timeout_ms = 50;
    stages[0].max_attempts = 2;
    hanging.plan = quillwork_domain::plan::Plan::new(stages).unwrap();
    let hanging = stack.submit(hanging).await.unwrap().job;
    let other = stack.submit(job(&["echo"])).await.unwrap().job;
    assert_eq!(stack.ended(other).await.phase, Phase::Completed);
    stack.ended(hanging).await;
    assert_eq!(
        stack.kinds(hanging).await,
        [
            "JobSubmitted",
            "StageStarted",
            "StageFailed timeout",
            "StageStarted",
            "StageFailed timeout",
            "JobFailed"
        ]
    );
    stack.stop().await;
}

async fn a_large_output_becomes_a_blob(ground: Ground) {
    let handlers = Handlers::default().with("large", 1, |_| Deed::ReturnBytes(5 << 20));
    let stack = Stack::start(&ground, handlers).await;
    let id = stack.submit(job(&["large", "large"])).await.unwrap().job;
    let ended = stack.ended(id).await;
    let Some(Payload::Blob(blob)) = &ended.stages[1].output else { panic!("{:?}", ended.stages) };
    assert_eq!(blob.bytes, 5 << 20);
    let bytes = stack.reader.blob(blob.sha256).await.unwrap().unwrap();
    assert_eq!(Sha256Digest::of(&bytes), blob.sha256);
    stack.stop().await;
}

async fn a_cancelled_job_stops_its_stage_and_frees_the_slot(ground: Ground) {
    let calls = Arc::new(AtomicU32::new(0));
    let seen = calls.clone();
    let handlers = Handlers::default().with("once", 1, move |_| match seen.fetch_add(1, Ordering::SeqCst) {
        0 => Deed::Hang,
        _ => Deed::Return("done"),
    });
    let stack = Stack::start(&ground, handlers).await;
    let first = stack.submit(job(&["once"])).await.unwrap().job;
    stack.job_when(first, runs).await;
    let second = stack.submit(job(&["once"])).await.unwrap().job;
    stack.engine.cancel(caller(), first, Some("no longer needed".into())).await.unwrap();
    assert_eq!(stack.ended(first).await.phase, Phase::Cancelled);
    assert_eq!(stack.ended(second).await.phase, Phase::Completed);
    let again = stack.engine.retry(caller(), first).await.unwrap();
    assert_eq!(again.job, first);
    stack.job_when(first, |job| job.phase == Phase::Completed).await;
    stack.stop().await;
}

async fn a_key_stands_for_one_job_also_after_a_restart(ground: Ground) {
    let with_key = |body: &str| JobSubmitted {
        idempotency_key: Some("k".into()),
        request_digest: Some(Sha256Digest::of(body.as_bytes())),
        ..job(&["echo"])
    };
    let stack = Stack::start(&ground, echo()).await;
    let (first, second) = tokio::join!(stack.submit(with_key("a")), stack.submit(with_key("a")));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.job, first.replayed, second.replayed), (second.job, false, true));
    assert_eq!(stack.submit(with_key("b")).await, Err(Refusal::KeyReused("k".into())));
    stack.ended(first.job).await;
    stack.stop().await;

    let stack = Stack::start(&ground, echo()).await;
    let third = stack.submit(with_key("a")).await.unwrap();
    assert_eq!((third.job, third.replayed), (first.job, true));
    stack.stop().await;
}

async fn a_bulkhead_bounds_its_stage_and_nothing_else(ground: Ground) {
    let handlers = echo().with("slow", 2, |_| Deed::Hang);
    let stack = Stack::start(&ground, handlers).await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(stack.submit(job(&["slow"])).await.unwrap().job);
    }
    let quick = stack.submit(job(&["echo"])).await.unwrap().job;
    stack.ended(quick).await;
    let mut running = 0;
    for id in &slow {
        running += usize::from(runs(&stack.job(*id).await));
    }
    assert_eq!((running, stack.engine.running()), (2, 2));
    stack.stop().await;
}

async fn priority_decides_who_gets_a_slot(ground: Ground) {
    let gate = Arc::new(AtomicUsize::new(0));
    let seen = gate.clone();
    let handlers = Handlers::default().with("one", 1, move |_| match seen.fetch_add(1, Ordering::SeqCst) {
        0 => Deed::Hang,
        _ => Deed::Return("done"),
    });
    let stack = Stack::start(&ground, handlers).await;
    let blocking = stack.submit(job(&["one"])).await.unwrap().job;
    let mut ids = Vec::new();
    for priority in [0, 5, -5, 5] {
        ids.push(stack.submit(JobSubmitted { priority, ..job(&["one"]) }).await.unwrap().job);
    }
    stack.engine.cancel(caller(), blocking, None).await.unwrap();
    for id in &ids {
        stack.ended(*id).await;
    }
    let started: Vec<_> =
        stack.log().await.into_iter().filter(|event| event.kind == "StageStarted").collect();
    let order: Vec<_> = started[1..].iter().map(|event| event.stream).collect();
    assert_eq!(order, [ids[1], ids[3], ids[0], ids[2]].map(Into::into));
    stack.stop().await;
}

async fn a_scheduled_job_starts_on_time(ground: Ground) {
    let stack = Stack::start(&ground, echo()).await;
    let run_at = quillwork_app::clock::now().plus(Duration::from_millis(300));
    let id = stack.submit(JobSubmitted { run_at: Some(run_at), ..job(&["echo"]) }).await.unwrap().job;
    stack.ended(id).await;
    let stream = stack.reader.stream(id.into(), Version::default(), 10).await.unwrap();
    assert!(stream[1].recorded_at >= run_at, "started {} before {run_at}", stream[1].recorded_at);
    stack.stop().await;
}

async fn a_full_house_is_refused_and_empties(ground: Ground) {
    let handlers = Handlers::default().with("hangs", 1, |_| Deed::Hang);
    let config = EngineConfig { max_backlog: 3, ..config() };
    let stack = Stack::start_with(&ground, handlers, config, |writer| writer).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(stack.submit(job(&["hangs"])).await.unwrap().job);
    }
    let refused = stack.submit(job(&["hangs"])).await;
    assert!(matches!(refused, Err(Refusal::BacklogFull { limit: 3, .. })), "{refused:?}");
    stack.engine.cancel(caller(), ids[1], None).await.unwrap();
    stack.submit(job(&["hangs"])).await.unwrap();
    stack.stop().await;
}

async fn what_ran_when_the_process_stopped_runs_again_without_its_finished_steps(ground: Ground) {
    let handlers = Handlers::default().with("steps", 1, |_| Deed::StepThenHang);
    let stack = Stack::start(&ground, handlers).await;
    let id = stack.submit(job(&["steps"])).await.unwrap().job;
    stack.job_when(id, |job| job.stages[0].steps.len() == 1).await;
    stack.stop().await;

    let handlers = Handlers::default().with("steps", 1, |_| Deed::Return("done"));
    let stack = Stack::start(&ground, handlers).await;
    assert_eq!(stack.ended(id).await.phase, Phase::Completed);
    assert_eq!(
        stack.kinds(id).await,
        [
            "JobSubmitted",
            "StageStarted",
            "StepRecorded",
            "StageFailed released",
            "StageStarted",
            "StageCompleted",
            "JobCompleted"
        ]
    );
    stack.stop().await;
}

/// Only where no other process could run them.
#[tokio::test]
async fn jobs_for_a_handler_that_is_gone_fail() {
    let ground = Ground::sqlite();
    let stack = Stack::start(&ground, Handlers::default().with("old", 1, |_| Deed::Hang)).await;
    let waiting = stack.submit(job(&["old"])).await.unwrap().job;
    let also = stack.submit(job(&["old"])).await.unwrap().job;
    stack.job_when(waiting, runs).await;
    stack.crash();
    let stack = Stack::start(&ground, echo()).await;
    for id in [waiting, also] {
        assert_eq!(stack.ended(id).await.error.unwrap().class, ErrorClass::UnknownHandler);
    }
    // Neither does a job get stuck that is set going while its handler is gone.
    stack.engine.retry(caller(), waiting).await.unwrap();
    assert_eq!(stack.kinds(waiting).await.last().unwrap(), "JobFailed");
    assert!(stack.reader.tasks(None, 10).await.unwrap().is_empty());
    stack.stop().await;
}

fn wish(jobs: Vec<(JobId, Version)>) -> ArchiveWish {
    ArchiveWish { jobs, through: Timestamp::MAX, file: None }
}

async fn an_ended_job_leaves_the_log_and_an_open_one_stays(ground: Ground) {
    let stack = Stack::start(&ground, echo()).await;
    let done = stack.submit(job(&["echo"])).await.unwrap().job;
    let version = stack.ended(done).await.version;
    let later = Some(Timestamp::MAX);
    let waits = stack.submit(JobSubmitted { run_at: later, ..job(&["echo"]) }).await.unwrap().job;
    let both = wish(vec![(done, version), (waits, Version(1))]);
    let Err(ArchiveError::Kept(kept)) = stack.engine.archive(caller(), both).await else { panic!() };
    assert_eq!(kept, [(waits, Kept::Open)]);
    assert_eq!(stack.log().await.len(), 5, "nothing left");
    let archived = stack.engine.archive(caller(), wish(vec![(done, version)])).await.unwrap();
    assert_eq!((archived.position.0, archived.jobs, archived.events), (6, 1, 4));
    let positions: Vec<u64> = stack.log().await.iter().map(|event| event.position.0).collect();
    assert_eq!(positions, [5, 6]);
    let Err(ArchiveError::Kept(kept)) = stack.engine.archive(caller(), wish(vec![(done, version)])).await
    else {
        panic!()
    };
    assert_eq!(kept, [(done, Kept::Absent)]);
    let next = stack.submit(job(&["echo"])).await.unwrap();
    stack.ended(next.job).await;
    stack.stop().await;
}

/// One process remembers a job that another one archived.
#[tokio::test]
async fn what_another_process_archived_cannot_be_set_going_again() {
    let ground = Ground::postgres();
    let [mine, theirs] = [Stack::start(&ground, echo()).await, Stack::start(&ground, echo()).await];
    let later = Some(Timestamp::MAX);
    let keyed = JobSubmitted { idempotency_key: Some("k".into()), run_at: later, ..job(&["echo"]) };
    let id = mine.submit(keyed.clone()).await.unwrap().job;
    mine.engine.cancel(caller(), id, None).await.unwrap();
    assert!(mine.submit(keyed.clone()).await.unwrap().replayed);
    theirs.engine.archive(caller(), wish(vec![(id, Version(2))])).await.unwrap();
    mine.engine.retry(caller(), id).await.unwrap_err();
    assert!(mine.history(id).await.is_empty());
    // The key is free again.
    assert!(!mine.submit(keyed).await.unwrap().replayed);
    mine.stop().await;
    theirs.stop().await;
}

async fn the_stages_of_a_group_run_at_the_same_time(ground: Ground) {
    let go = watch::Sender::new(false);
    let waits = go.subscribe();
    let handlers = echo()
        .with("waits", 2, move |_| Deed::ReturnWhen(waits.clone()))
        .with("seen", 1, |_| Deed::ReturnSeen);
    let stack = Stack::start(&ground, handlers).await;
    let id = stack.submit(job_of(&[&["echo"], &["waits", "waits"], &["seen"]])).await.unwrap().job;
    let both = stack.job_when(id, |job| n_running(job) == 2).await;
    assert_eq!(both.n_done(), 1);
    go.send_replace(true);
    let ended = stack.ended(id).await;
    assert_eq!(ended.phase, Phase::Completed);
    assert_eq!(text(&ended, 3), "[3,0,1]", "three outputs, no feedback, the first round");
    assert!(stack.reader.tasks(None, 10).await.unwrap().is_empty());
    stack.stop().await;
}

/// What a stage returned.
fn text(job: &Job, stage: usize) -> String {
    match job.stages[stage].output.as_ref() {
        Some(Payload::Inline(json)) => json.get().to_owned(),
        Some(Payload::Blob(_)) | None => panic!("{job:#?}"),
    }
}

async fn the_final_failure_of_one_stage_ends_those_beside_it(ground: Ground) {
    let fail = watch::Sender::new(false);
    let fails = fail.subscribe();
    let handlers = echo().with("hangs", 1, |_| Deed::Hang).with("fails", 1, move |_| {
        if *fails.borrow() {
            Deed::Fail(StageError::permanent("no"))
        } else {
            Deed::Fail(StageError::new(ErrorClass::Released, "not yet"))
        }
    });
    let stack = Stack::start(&ground, handlers).await;
    let id = stack.submit(job_of(&[&["hangs", "fails", "echo"]])).await.unwrap().job;
    stack.job_when(id, |job| job.stages[0].phase == StagePhase::Running && job.n_done() == 1).await;
    fail.send_replace(true);
    let ended = stack.ended(id).await;
    assert_eq!(ended.phase, Phase::Failed);
    assert_eq!(ended.error.unwrap().stage, "stage-1");
    // The slot of the one that hung is free again.
    let next = stack.submit(job(&["hangs"])).await.unwrap().job;
    stack.job_when(next, runs).await;
    assert_eq!(stack.reader.tasks(None, 10).await.unwrap().len(), 1);
    stack.stop().await;
}

async fn a_job_that_is_sent_back_runs_again_with_what_was_said_of_it(ground: Ground) {
    let handlers = echo().with("seen", 1, |_| Deed::ReturnSeen).with("gate", 1, |attempt| match attempt {
        1 => Deed::SendBack("seen"),
        _ => Deed::Return("good"),
    });
    let stack = Stack::start(&ground, handlers).await;
    let id = stack.submit(job_of(&[&["echo"], &["seen"], &["gate", "echo"]])).await.unwrap().job;
    let ended = stack.ended(id).await;
    assert_eq!((ended.phase, ended.round), (Phase::Completed, 2));
    assert_eq!(text(&ended, 1), "[1,3,2]", "one output, three of feedback, the second round");
    let kinds = stack.kinds(id).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "StagesReopened").count(), 1, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "StageCompleted").count(), 7, "{kinds:?}");
    stack.stop().await;
}
