//! What follows when all stages of a group have their results: the next group, the end, or another round.

use crate::id::Attempt;
use crate::job::{
    ErrorClass, Event, Job, JobCompleted, JobError, JobFailed, Rework, StagePhase, StagesReopened,
};
use crate::plan::{PlannedStage, StageIndex};

/// A job has at most this many rounds before somebody must look at it; a manual retry grants as many again.
pub const MAX_ROUNDS: u32 = 10;

/// What follows when `stage` has its result: nothing while another stage of its group has none, or if the next group is
/// to be started.
pub(super) fn end_of_group(
    job: &Job,
    stage: StageIndex,
    attempt: Attempt,
    rework: Option<&Rework>,
) -> Option<Event> {
    let group = job.group();
    let is_done = |place: usize| place == stage.place() || job.stages[place].phase == StagePhase::Done;
    if !group.clone().all(is_done) {
        return None;
    }
    let wishes = group.clone().filter_map(|place| {
        let own = place == stage.place();
        let rework = if own { rework } else { job.stages[place].rework.as_deref() };
        let attempt = if own { attempt } else { job.stages[place].attempt };
        Some((job.planned(StageIndex::at(place))?, attempt, rework?))
    });
    match send_back(job, &wishes.collect::<Vec<_>>()) {
        Some(event) => Some(event),
        None if group.end < job.stages.len() => None,
        None => Some(Event::JobCompleted(JobCompleted {})),
    }
}

/// Sends the job back as far as one of its stages wishes, or fails it if that cannot be. None if no stage has a wish.
fn send_back(job: &Job, wishes: &[(&PlannedStage, Attempt, &Rework)]) -> Option<Event> {
    let (first, attempt, _) = wishes.first()?;
    let refuse = |by: &PlannedStage, attempt: Attempt, message: String| {
        let error = JobError { class: ErrorClass::BadOutput, message, stage: by.name.clone(), attempt };
        Some(Event::JobFailed(JobFailed { error }))
    };
    let mut to: Option<(StageIndex, &PlannedStage)> = None;
    for (by, attempt, rework) in wishes {
        let Some(wished) = earlier(job, &rework.to) else {
            let message = format!(
                "stage {:?} sent the job back to {:?}, which is no stage before it: {}",
                by.name, rework.to, rework.reason
            );
            return refuse(by, *attempt, message);
        };
        if to.is_none_or(|(to, _)| wished.0 < to) {
            to = Some(wished);
        }
    }
    let reasons: Vec<String> =
        wishes.iter().map(|(by, _, rework)| format!("{}: {}", by.name, rework.reason)).collect();
    let reason = reasons.join("; ");
    if job.rounds >= MAX_ROUNDS {
        let message =
            format!("the job was to go back after {} rounds, the most it may have: {reason}", job.rounds);
        return refuse(first, *attempt, message);
    }
    let (_, stage) = to?;
    Some(Event::StagesReopened(StagesReopened {
        stage: stage.name.clone(),
        round: job.round.saturating_add(1),
        reason,
    }))
}

/// The stage before the current group that is called `name`, or the nearest one with that handler.
fn earlier<'a>(job: &'a Job, name: &str) -> Option<(StageIndex, &'a PlannedStage)> {
    let stages = job.submitted.as_ref()?.plan.stages().get(..job.group().start)?;
    let named = stages.iter().position(|stage| stage.name == name);
    let place = named.or_else(|| stages.iter().rposition(|stage| *stage.handler == *name))?;
    Some((StageIndex::at(place), &stages[place]))
}
