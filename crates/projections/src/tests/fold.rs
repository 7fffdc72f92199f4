use proptest::prelude::*;
use quillwork_domain::id::Attempt;
use quillwork_domain::job::{ErrorClass, StagePhase, Status};
use quillwork_domain::time::Timestamp;

use super::history::{History, Step, histories, job_id};
use crate::changes::{Changes, Checkpoint};
use crate::job_summary::{JobSummary, fold};

fn rows(history: &History) -> Changes {
    let head = History::default().head();
    let mut changes = Changes::after(Checkpoint { position: head.position, hash: head.hash });
    for entry in &history.entries {
        changes.fold(entry).unwrap();
    }
    changes
}

/// The last row of the job that went through `steps`.
fn row(steps: &[Step]) -> JobSummary {
    let mut history = History::default();
    for step in steps {
        // Three stages.
        history.step(job_id(2), step.clone());
    }
    history.entries.iter().fold(None, fold).unwrap()
}

const SUBMIT: Step = Step::Submit { run_at: None, labels: true };

#[test]
fn a_job_runs_between_its_stages() {
    let job = row(&[SUBMIT, Step::Start, Step::Complete]);
    assert_eq!(job.stages.len(), 3);
    assert_eq!((job.status, job.stage.as_deref()), (Status::Running, Some("stage-1")));
    assert_eq!((job.attempt.0, job.progress.done, job.worker), (0, 1, None));
}

#[test]
fn a_failure_shows_until_the_job_is_retried() {
    let failed = [SUBMIT, Step::Start, Step::Fail(ErrorClass::Permanent)];
    let job = row(&failed);
    assert_eq!(job.status, Status::Failed);
    assert_eq!(job.error.unwrap().class, ErrorClass::Permanent);
    assert!(job.finished_at.is_some());
    let job = row(&[failed.as_slice(), &[Step::Retry]].concat());
    assert_eq!((job.status, job.error, job.finished_at), (Status::Queued, None, None));
}

#[test]
fn a_scheduled_job_is_queued_once_its_time_has_come() {
    let job = row(&[Step::Submit { run_at: Some(5_000), labels: false }]);
    assert_eq!(job.clone().at(Timestamp::from_millis(4_999)).status, Status::Scheduled);
    assert_eq!(job.at(Timestamp::from_millis(5_000)).status, Status::Queued);
}

#[test]
fn every_attempt_has_its_row() {
    let mut history = History::default();
    for step in [
        SUBMIT,
        Step::Start,
        Step::Fail(ErrorClass::Lost),
        Step::Start,
        Step::Complete,
        Step::Start,
        Step::Cancel,
    ] {
        history.step(job_id(2), step);
    }
    let timeline: Vec<_> = rows(&history)
        .timeline
        .into_iter()
        .map(|(_, row)| {
            (row.stage_index, row.attempt.0, row.outcome.as_str(), row.started_at < row.finished_at)
        })
        .collect();
    assert_eq!(timeline, [(0, 1, "lost", true), (0, 2, "completed", true), (1, 1, "cancelled", true)]);
}

/// The attempts that the timeline shows as running.
fn running(row: &JobSummary) -> Vec<(u32, Attempt)> {
    let running = crate::job_timeline::running(row);
    running.into_iter().map(|attempt| (attempt.stage_index, attempt.attempt)).collect()
}

proptest! {
    #[test]
    fn rows_agree_with_the_domain(history in histories(80)) {
        let now = Timestamp::from_millis(100_000);
        let changes = rows(&history);
        for (id, job) in &history.jobs {
            let Some(row) = changes.jobs.get(id).and_then(|changed| changed.job.clone()) else {
                prop_assert!(job.status(now).is_none());
                continue;
            };
            let row = row.at(now);
            prop_assert_eq!(Some(row.status), job.status(now));
            let current = job.current();
            prop_assert_eq!(row.stage.as_deref(), job.planned(current).map(|stage| stage.name.as_str()));
            prop_assert_eq!(row.round, job.round);
            prop_assert_eq!(running(&row), job.open().filter(|stage| {
                job.stage(*stage).unwrap().phase == StagePhase::Running
            }).map(|stage| (u32::from(stage.0), job.stage(stage).unwrap().attempt)).collect::<Vec<_>>());
            prop_assert_eq!(row.attempt, job.stage(current).unwrap().attempt);
            prop_assert_eq!(row.version, job.version);
            prop_assert_eq!(&row.error, &job.error);
            prop_assert_eq!(row.progress.done as usize, job.n_done());
            prop_assert_eq!(row.finished_at.is_some(), row.status.is_terminal());
        }
    }
}
