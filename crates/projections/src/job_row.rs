//! A job as it is stored: columns for what queries look into, and one short text, the details, for everything else.
//!
//! Most of what the tables grow by is these rows. So nothing stands in them twice, nothing that the rest tells, and what
//! few jobs have takes no room in the others.

use std::borrow::Cow;
use std::collections::BTreeMap;

use quillwork_domain::id::{Attempt, JobId, Position, Version};
use quillwork_domain::job::{JobError, JobPaused, Status, Usage};
use quillwork_domain::time::Timestamp;
use quillwork_domain::usage::UsageTally;
use serde::{Deserialize, Serialize};

use crate::job_group::{GroupStage, StageState};
use crate::job_summary::{JobSummary, Progress};
use crate::job_timeline::TimelineOutcome;
use crate::read_models::ReadModelError;

/// The columns of a row, but for those that queries only compare with.
pub(crate) struct JobRow<'a> {
    pub(crate) submitted_position: Position,
    pub(crate) id: JobId,
    /// See [`status_code`].
    pub(crate) status: i64,
    pub(crate) pipeline: String,
    pub(crate) tenant: String,
    pub(crate) topic: String,
    /// See [`details`].
    pub(crate) details: &'a str,
}

/// When the job was submitted, which the other times are told from; attempt; completed stages; version; how far the
/// last event is from the first one; when that was, when the first stage was started and when the job ended; the names
/// of the stages; and what few jobs have.
type Details<'a> =
    (i64, Attempt, u32, Version, u64, i64, Option<i64>, Option<i64>, Cow<'a, [String]>, Rare<'a>);

#[derive(Default, Serialize, Deserialize)]
struct Rare<'a> {
    /// What is counted of each stage, if it is not what [`plain_counts`] says.
    #[serde(default, rename = "c", skip_serializing_if = "Option::is_none")]
    counted: Option<Cow<'a, [[u64; 4]]>>,
    #[serde(default, rename = "p", skip_serializing_if = "Option::is_none")]
    priority: Option<i16>,
    #[serde(default, rename = "n", skip_serializing_if = "Option::is_none")]
    run_at: Option<i64>,
    #[serde(default, rename = "r", skip_serializing_if = "Option::is_none")]
    retry_at: Option<i64>,
    #[serde(default, rename = "w", skip_serializing_if = "Option::is_none")]
    worker: Option<Cow<'a, str>>,
    #[serde(default, rename = "s", skip_serializing_if = "Option::is_none")]
    stage_started_at: Option<i64>,
    #[serde(default, rename = "e", skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, JobError>>,
    #[serde(default, rename = "l", skip_serializing_if = "Option::is_none")]
    labels: Option<Cow<'a, BTreeMap<String, String>>>,
    #[serde(default, rename = "u", skip_serializing_if = "Option::is_none")]
    usage: Option<Cow<'a, Usage>>,
    #[serde(default, rename = "m", skip_serializing_if = "Option::is_none")]
    budget_micros: Option<u64>,
    #[serde(default, rename = "d", skip_serializing_if = "Option::is_none")]
    paid: Option<Cow<'a, [UsageTally]>>,
    #[serde(default, rename = "h", skip_serializing_if = "Option::is_none")]
    pause: Option<Cow<'a, JobPaused>>,
    #[serde(default, rename = "o", skip_serializing_if = "Option::is_none")]
    round: Option<u32>,
    #[serde(default, rename = "b", skip_serializing_if = "Option::is_none")]
    beside: Option<Cow<'a, [u32]>>,
    #[serde(default, rename = "g", skip_serializing_if = "Vec::is_empty")]
    group: Vec<Member<'a>>,
}

/// A stage of a group: its place, its state, its attempt, who runs it since when, and when it may be tried again.
type Member<'a> = (u32, u8, Attempt, Option<Cow<'a, str>>, Option<i64>, Option<i64>);

/// What no query looks into, as JSON.
pub(crate) fn details(job: &JobSummary) -> Result<String, serde_json::Error> {
    let submitted_at = job.submitted_at.as_millis();
    let after = |at: Timestamp| at.as_millis() - submitted_at;
    let details: Details<'_> = (
        submitted_at,
        job.attempt,
        job.progress.done,
        job.version,
        job.position.0.saturating_sub(job.submitted_position.0),
        after(job.updated_at),
        job.started_at.map(after),
        job.finished_at.map(after),
        Cow::Borrowed(&job.stages),
        Rare {
            counted: (!plain_counts(job.progress).eq(job.counted.iter().copied()))
                .then_some(Cow::Borrowed(&job.counted)),
            priority: (job.priority != 0).then_some(job.priority),
            run_at: job.run_at.map(after),
            retry_at: job.retry_at.map(after),
            worker: job.worker.as_deref().map(Cow::Borrowed),
            stage_started_at: job.stage_started_at.map(after),
            error: job.error.as_ref().map(Cow::Borrowed),
            labels: (!job.labels.is_empty()).then_some(Cow::Borrowed(&job.labels)),
            usage: job.usage.as_ref().map(Cow::Borrowed),
            budget_micros: job.budget_micros,
            paid: (!job.paid.is_empty()).then_some(Cow::Borrowed(&job.paid)),
            pause: job.pause.as_ref().map(Cow::Borrowed),
            round: (job.round > 1).then_some(job.round),
            beside: (!job.beside.is_empty()).then_some(Cow::Borrowed(&job.beside)),
            group: job
                .group
                .iter()
                .map(|member| {
                    let (started_at, retry_at) = (member.started_at.map(after), member.retry_at.map(after));
                    let worker = member.worker.as_deref().map(Cow::Borrowed);
                    let state = state_code(member.state);
                    (member.stage_index, state, member.attempt, worker, started_at, retry_at)
                })
                .collect(),
        },
    );
    serde_json::to_string(&details)
}

impl JobRow<'_> {
    /// The job that this row is of.
    pub(crate) fn job(self) -> Result<JobSummary, ReadModelError> {
        let details: Details<'_> = serde_json::from_str(self.details)?;
        let (submitted_at, attempt, done, version, distance, updated, started, finished, stages, rare) =
            details;
        let at = |after: i64| Timestamp::from_millis(submitted_at.saturating_add(after));
        let stages = stages.into_owned();
        let progress = Progress { done, total: u32::try_from(stages.len()).unwrap_or(u32::MAX) };
        let group =
            rare.group.into_iter().map(|(stage_index, state, attempt, worker, started_at, retry_at)| {
                Ok(GroupStage {
                    stage_index,
                    stage: stages.get(stage_index as usize).cloned().unwrap_or_default(),
                    state: state_of(state)?,
                    attempt,
                    worker: worker.map(Cow::into_owned),
                    started_at: started_at.map(at),
                    retry_at: retry_at.map(at),
                })
            });
        let group = group.collect::<Result<_, ReadModelError>>()?;
        let mut job = JobSummary {
            id: self.id,
            status: status_of(self.status)?,
            topic: self.topic,
            pipeline: self.pipeline,
            stage: None,
            attempt,
            worker: rare.worker.map(Cow::into_owned),
            stage_started_at: rare.stage_started_at.map(at),
            progress,
            submitted_at: at(0),
            started_at: started.map(at),
            finished_at: finished.map(at),
            error: rare.error.map(Cow::into_owned),
            labels: rare.labels.map(Cow::into_owned).unwrap_or_default(),
            version,
            position: Position(self.submitted_position.0.saturating_add(distance)),
            priority: rare.priority.unwrap_or_default(),
            run_at: rare.run_at.map(at),
            retry_at: rare.retry_at.map(at),
            updated_at: at(updated),
            tenant: self.tenant,
            stages,
            usage: rare.usage.map(Cow::into_owned),
            submitted_position: self.submitted_position,
            counted: rare.counted.map_or_else(|| plain_counts(progress).collect(), Cow::into_owned),
            budget_micros: rare.budget_micros,
            paid: rare.paid.map(Cow::into_owned).unwrap_or_default(),
            pause: rare.pause.map(Cow::into_owned),
            round: rare.round.unwrap_or(1),
            beside: rare.beside.map(Cow::into_owned).unwrap_or_default(),
            group,
        };
        job.stage = job.stages.get(job.stage_index() as usize).cloned();
        Ok(job)
    }
}

/// What is counted of the stages of a job that never failed and runs nothing: each that is done was started once and
/// completed once.
fn plain_counts(progress: Progress) -> impl Iterator<Item = [u64; 4]> {
    (0..progress.total).map(move |stage| if stage < progress.done { [1, 1, 0, 0] } else { [0; 4] })
}

/// The topic in lower case, if making its ASCII letters small, which every database can do, is not enough.
pub(crate) fn search(topic: &str) -> Option<String> {
    if topic.is_ascii() {
        return None;
    }
    Some(topic.to_lowercase()).filter(|lower| *lower != topic.to_ascii_lowercase())
}

/// When a scheduled job is due.
pub(crate) fn due_at(job: &JobSummary) -> Option<i64> {
    let due_at = job.run_at.filter(|_| job.status == Status::Scheduled);
    due_at.map(Timestamp::as_millis)
}

/// When a job ended that has ended.
pub(crate) fn ended_at(job: &JobSummary) -> Option<i64> {
    let ended_at = job.finished_at.filter(|_| job.status.is_terminal());
    ended_at.map(Timestamp::as_millis)
}

/// Stands for a status in the tables.
pub(crate) fn status_code(status: Status) -> i16 {
    match status {
        Status::Scheduled => 1,
        Status::Queued => 2,
        Status::Running => 3,
        Status::Retrying => 4,
        Status::Completed => 5,
        Status::Failed => 6,
        Status::Cancelled => 7,
        Status::Paused => 8,
    }
}

fn status_of(code: i64) -> Result<Status, ReadModelError> {
    let status = Status::ALL.into_iter().find(|status| i64::from(status_code(*status)) == code);
    status.ok_or_else(|| ReadModelError::Damaged(format!("a job has the unknown status {code}")))
}

/// Stands for the state of a stage in the tables.
fn state_code(state: StageState) -> u8 {
    match state {
        StageState::Waiting => 1,
        StageState::Running => 2,
        StageState::Retrying => 3,
        StageState::Completed => 4,
        StageState::SentBack => 5,
        StageState::Stopped => 6,
        StageState::Parked => 7,
    }
}

fn state_of(code: u8) -> Result<StageState, ReadModelError> {
    let state = StageState::ALL.into_iter().find(|state| state_code(*state) == code);
    state.ok_or_else(|| ReadModelError::Damaged(format!("a stage has the unknown state {code}")))
}

/// Stands for the outcome of an attempt in the tables.
pub(crate) fn outcome_code(outcome: TimelineOutcome) -> i16 {
    match outcome {
        TimelineOutcome::Running => 1,
        TimelineOutcome::Completed => 2,
        TimelineOutcome::Failed => 3,
        TimelineOutcome::Lost => 4,
        TimelineOutcome::Released => 5,
        TimelineOutcome::Cancelled => 6,
    }
}

pub(crate) fn outcome_of(code: i64) -> Result<TimelineOutcome, ReadModelError> {
    let outcome = TimelineOutcome::ALL.into_iter().find(|outcome| i64::from(outcome_code(*outcome)) == code);
    outcome.ok_or_else(|| ReadModelError::Damaged(format!("an attempt has the unknown outcome {code}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::SCHEMA_VERSION;
    use crate::tests::history::{History, Step, histories, job_id};

    proptest! {
        #[test]
        fn what_is_stored_is_read_again(history in histories(60)) {
            let mut jobs = BTreeMap::new();
            for entry in &history.entries {
                let Some(id) = entry.recorded.stream.job() else { continue };
                let Some(job) = crate::job_summary::fold(jobs.remove(&id), entry) else { continue };
                let details = details(&job).unwrap();
                let row = JobRow {
                    submitted_position: job.submitted_position,
                    id,
                    status: status_code(job.status).into(),
                    pipeline: job.pipeline.clone(),
                    tenant: job.tenant.clone(),
                    topic: job.topic.clone(),
                    details: &details,
                };
                prop_assert_eq!(&row.job().unwrap(), &job);
                jobs.insert(id, job);
            }
        }
    }

    /// Rows of the same version are read by every program that has it.
    #[test]
    fn another_text_is_another_schema_version() {
        let mut history = History::default();
        for step in [Step::Submit { run_at: None, labels: true }, Step::Start, Step::Complete, Step::Start] {
            history.step(job_id(1), step);
        }
        let job = history.entries.iter().fold(None, crate::job_summary::fold).unwrap();
        let text = concat!(
            r#"[7,1,1,4,3,21,7,null,["stage-0","stage-1"],{"c":[[1,1,0,0],[1,0,0,0]],"#,
            r#""w":"worker-1","s":21,"l":{"team":"blue"},"u":{"input_tokens":3,"output_tokens":5}}]"#
        );
        assert_eq!((SCHEMA_VERSION, details(&job).unwrap().as_str()), (6, text));
    }

    #[test]
    fn only_what_ascii_does_not_make_small_is_stored_twice() {
        assert_eq!(search("The Bicycle"), None);
        assert_eq!(search("größe"), None);
        assert_eq!(search("GRÖSSE").as_deref(), Some("grösse"));
    }

    #[test]
    fn codes_stand_for_one_thing_each() {
        for status in Status::ALL {
            assert_eq!(status_of(status_code(status).into()).unwrap(), status);
        }
        for outcome in TimelineOutcome::ALL {
            assert_eq!(outcome_of(outcome_code(outcome).into()).unwrap(), outcome);
        }
        for state in StageState::ALL {
            assert_eq!(state_of(state_code(state)).unwrap(), state);
        }
        assert!(matches!(status_of(0), Err(ReadModelError::Damaged(_))));
    }
}
