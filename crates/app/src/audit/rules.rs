//! Which events a job may have next. Written apart from `decide`, so that a defect there shows here.

use quillwork_domain::id::Attempt;
use quillwork_domain::job::{
    ErrorClass, Event, Job, JobFailed, MAX_ROUNDS, MAX_STEPS, Phase, Rework, StageCompleted, StageFailed,
    StagePhase, StageState,
};
use quillwork_domain::plan::{Plan, PlannedStage};
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;

/// The event that must come directly after another one, because one append wrote both.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Demand {
    /// After the last result of the last group.
    JobCompleted,
    /// After a final failure, with the same error.
    JobFailed(StageFailed),
    /// After the last result of a group, one of which sent the job back.
    StagesReopened { stage: String, round: u32 },
    /// The same, where the job cannot go back.
    NoRework,
    /// After the event by which nothing of the job moves any more, while something of it waits for money.
    JobPaused,
}

impl Demand {
    /// The kind of the demanded event.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::JobCompleted => "JobCompleted",
            Self::JobFailed(_) | Self::NoRework => "JobFailed",
            Self::StagesReopened { .. } => "StagesReopened",
            Self::JobPaused => "JobPaused",
        }
    }
}

/// Checks `event` against the job as it was before it, and says what must follow directly.
///
/// `demand` is what the event before this one demanded, if that was an event of the same job.
pub(super) fn check(
    before: &Job,
    event: &Event,
    recorded_at: Timestamp,
    demand: Option<&Demand>,
) -> Result<Option<Demand>, String> {
    let kind = wire::kind(event);
    if let Event::JobSubmitted(submitted) = event {
        if before.phase != Phase::New {
            return Err("JobSubmitted for a job that exists".into());
        }
        Plan::new(submitted.plan.stages().to_vec())
            .map_err(|error| format!("JobSubmitted with a wrong plan: {error}"))?;
        return Ok(None);
    }
    if before.phase == Phase::New {
        return Err(format!("the stream begins with {kind}, not with JobSubmitted"));
    }
    match event {
        // Handled above.
        Event::JobSubmitted(_) => Ok(None),
        Event::StageStarted(started) => {
            if before.is_terminal() {
                return Err(format!("StageStarted while the job is {}", name(before.phase)));
            }
            let stage = Current::named(before, kind, &started.stage)?;
            let due = match stage.state.phase {
                StagePhase::Waiting { run_at } => run_at.unwrap_or_default(),
                StagePhase::Retrying { retry_at } => retry_at,
                StagePhase::Parked { until } => until.unwrap_or(Timestamp::MAX),
                StagePhase::Running => return Err("StageStarted while the stage is running".into()),
                StagePhase::Pending | StagePhase::Done | StagePhase::Stopped => {
                    return Err(format!("StageStarted of stage {:?}, which is not open", started.stage));
                }
            };
            if due > recorded_at {
                return Err(format!("StageStarted at {recorded_at}, before it was due at {due}"));
            }
            stage.attempt_is(stage.state.attempt.next(), kind, started.attempt)?;
            Ok(None)
        }
        Event::StepRecorded(step) => {
            let stage = held(before, kind, &step.stage, step.attempt)?;
            if stage.state.steps.iter().any(|known| known.key == step.step_key) {
                return Err(format!("StepRecorded twice for step {:?}", step.step_key));
            }
            if stage.state.steps.len() >= MAX_STEPS {
                return Err(format!("more than {MAX_STEPS} steps in one stage"));
            }
            Ok(None)
        }
        Event::StageCompleted(completed) => {
            held(before, kind, &completed.stage, completed.attempt)?;
            let waits = before.has_parked() && rests(before, &completed.stage);
            Ok(after_result(before, completed).or(waits.then_some(Demand::JobPaused)))
        }
        Event::StageFailed(failed) => {
            let stage = held(before, kind, &failed.stage, failed.attempt)?;
            if failed.class == ErrorClass::BudgetExhausted {
                parked(before, failed)?;
                return Ok(rests(before, &failed.stage).then_some(Demand::JobPaused));
            }
            within_plan(stage.state, stage.planned, failed)?;
            Ok(failed.is_final.then(|| Demand::JobFailed(failed.clone())))
        }
        Event::StagesReopened(reopened) => match demand {
            Some(Demand::StagesReopened { stage, round })
                if (stage, round) == (&reopened.stage, &reopened.round) =>
            {
                Ok(None)
            }
            Some(Demand::StagesReopened { stage, round }) => {
                Err(format!("StagesReopened at other stages than {stage:?} or in another round than {round}"))
            }
            Some(Demand::JobCompleted | Demand::JobFailed(_) | Demand::NoRework | Demand::JobPaused)
            | None => Err("StagesReopened without a result directly before it that sent the job back".into()),
        },
        Event::JobCompleted(_) => match demand {
            Some(Demand::JobCompleted) => Ok(None),
            Some(
                Demand::JobFailed(_) | Demand::StagesReopened { .. } | Demand::NoRework | Demand::JobPaused,
            )
            | None => Err("JobCompleted without the last stage's result directly before it".into()),
        },
        Event::JobPaused(_) => match demand {
            Some(Demand::JobPaused) => Ok(None),
            Some(
                Demand::JobCompleted
                | Demand::JobFailed(_)
                | Demand::StagesReopened { .. }
                | Demand::NoRework,
            )
            | None => Err("JobPaused without a stage that waits for money directly before it".into()),
        },
        Event::JobResumed(_) if before.has_parked() => Ok(None),
        Event::JobResumed(_) => Err("JobResumed of a job that does not wait for money".into()),
        Event::BudgetSet(_) => open(before, kind).map(|()| None),
        Event::JobFailed(failed) => job_failed(before, failed, demand).map(|()| None),
        Event::JobCancelled(_) => open(before, kind).map(|()| None),
        Event::Queue(_) | Event::Archive(_) | Event::Content(_) => {
            Err(format!("{kind} in the stream of a job"))
        }
        Event::JobRetried(retried) => match before.phase {
            Phase::Failed | Phase::Cancelled => match stopped_at(before) {
                Some(stage) if stage != retried.stage => {
                    Err(format!("JobRetried at stage {:?}; it stopped at {stage:?}", retried.stage))
                }
                Some(_) => Ok(None),
                None => Err("JobRetried with no stage to run again".into()),
            },
            Phase::New | Phase::Open | Phase::Completed => {
                Err(format!("JobRetried while the job is {}", name(before.phase)))
            }
        },
    }
}

fn job_failed(before: &Job, failed: &JobFailed, demand: Option<&Demand>) -> Result<(), String> {
    let error = &failed.error;
    match demand {
        Some(Demand::JobFailed(failed)) => {
            let same = (&failed.stage, failed.attempt, failed.class, &failed.error)
                == (&error.stage, error.attempt, error.class, &error.message);
            if same { Ok(()) } else { Err("JobFailed with another error than the stage failed with".into()) }
        }
        Some(Demand::NoRework) if error.class == ErrorClass::BadOutput => Ok(()),
        Some(Demand::NoRework) => Err("JobFailed with another class than bad_output".into()),
        Some(Demand::JobCompleted | Demand::StagesReopened { .. }) => {
            Err("JobFailed after the last stage's result".into())
        }
        Some(Demand::JobPaused) => Err("JobFailed where the job is to be paused".into()),
        // Given up without a worker.
        None => {
            open(before, "JobFailed")?;
            let stage = Current::named(before, "JobFailed", &error.stage)?;
            stage.attempt_is(stage.state.attempt, "JobFailed", error.attempt)
        }
    }
}

/// A stage that waits for money fails for now only; without an end of the wait, its job has spent its budget.
fn parked(before: &Job, failed: &StageFailed) -> Result<(), String> {
    if failed.is_final {
        return Err("StageFailed for good, because of money".into());
    }
    if failed.retry_at.is_none() && before.budget.is_none_or(|budget| before.spent < budget) {
        return Err("StageFailed because of a budget that is not used up".into());
    }
    Ok(())
}

/// True if nothing of the job moves beside `stage`.
fn rests(before: &Job, stage: &str) -> bool {
    let stages = before.submitted.iter().flat_map(|submitted| submitted.plan.stages()).zip(&before.stages);
    stages.filter(|(planned, _)| planned.name != stage).all(|(_, state)| match state.phase {
        StagePhase::Waiting { .. } | StagePhase::Running | StagePhase::Retrying { .. } => false,
        StagePhase::Pending | StagePhase::Parked { .. } | StagePhase::Done | StagePhase::Stopped => true,
    })
}

/// What must follow on a result: nothing unless it is the last of its group.
fn after_result(before: &Job, completed: &StageCompleted) -> Option<Demand> {
    let plan = &before.submitted.as_ref()?.plan;
    let group = before.group();
    let stages = plan.stages().iter().zip(&before.stages);
    let mut sent_back_to: Vec<Option<usize>> = Vec::new();
    let earlier = |rework: &Rework| {
        let before = &plan.stages()[..group.start];
        let by_name = before.iter().position(|stage| stage.name == rework.to);
        by_name.or_else(|| before.iter().rposition(|stage| *stage.handler == *rework.to))
    };
    for (planned, state) in stages.skip(group.start).take(group.len()) {
        if planned.name == completed.stage {
            sent_back_to.extend(completed.rework.as_ref().map(earlier));
        } else if state.phase == StagePhase::Done {
            sent_back_to.extend(state.rework.as_deref().map(earlier));
        } else {
            return None;
        }
    }
    if sent_back_to.is_empty() {
        return (group.end == plan.len()).then_some(Demand::JobCompleted);
    }
    let all: Option<Vec<usize>> = sent_back_to.into_iter().collect();
    let stage = all.and_then(|all| all.into_iter().min()).and_then(|first| plan.stages().get(first));
    Some(match stage {
        Some(stage) if before.rounds < MAX_ROUNDS => {
            Demand::StagesReopened { stage: stage.name.clone(), round: before.round.saturating_add(1) }
        }
        Some(_) | None => Demand::NoRework,
    })
}

/// The first stage of the group that has no result, or one that sent the job back in vain.
fn stopped_at(before: &Job) -> Option<&str> {
    let plan = &before.submitted.as_ref()?.plan;
    let group =
        || plan.stages().iter().zip(&before.stages).skip(before.group().start).take(before.group().len());
    let undone = group().find(|(_, state)| state.phase != StagePhase::Done);
    let (planned, _) = undone.or_else(|| group().find(|(_, state)| state.rework.is_some()))?;
    Some(&planned.name)
}

/// Only a job that has not ended may have this event.
fn open(before: &Job, kind: &str) -> Result<(), String> {
    if before.is_terminal() {
        Err(format!("{kind} after the job was {}", name(before.phase)))
    } else {
        Ok(())
    }
}

/// A stage of the current group.
struct Current<'a> {
    planned: &'a PlannedStage,
    state: &'a StageState,
}

impl<'a> Current<'a> {
    fn named(before: &'a Job, kind: &str, name: &str) -> Result<Self, String> {
        let stages = before.submitted.as_ref().map(|submitted| submitted.plan.stages()).unwrap_or_default();
        let group = before.group();
        let mut current = stages.iter().zip(&before.stages).skip(group.start).take(group.len());
        match current.clone().find(|(planned, _)| planned.name == name) {
            Some((planned, state)) => Ok(Self { planned, state }),
            None => {
                let names: Vec<&str> = current.by_ref().map(|(planned, _)| planned.name.as_str()).collect();
                Err(format!("{kind} of stage {name:?}; the current stages are {names:?}"))
            }
        }
    }

    fn attempt_is(&self, expected: Attempt, kind: &str, found: Attempt) -> Result<(), String> {
        if found == expected {
            return Ok(());
        }
        let stage = &self.planned.name;
        Err(format!("{kind} of stage {stage:?} with attempt {found}; expected attempt {expected}"))
    }
}

/// Only the attempt that holds the stage may say anything about it.
fn held<'a>(before: &'a Job, kind: &str, stage: &str, attempt: Attempt) -> Result<Current<'a>, String> {
    open(before, kind)?;
    let current = Current::named(before, kind, stage)?;
    if current.state.phase != StagePhase::Running {
        return Err(format!("{kind} of stage {stage:?}, attempt {attempt}, which is not started"));
    }
    current.attempt_is(current.state.attempt, kind, attempt)?;
    Ok(current)
}

/// A failure either says when to try again, and the plan has an attempt left, or is final, and it has none.
fn within_plan(before: &StageState, planned: &PlannedStage, failed: &StageFailed) -> Result<(), String> {
    if failed.is_final == failed.retry_at.is_some() {
        return Err("StageFailed must have either retry_at or final".into());
    }
    let (used, limit, what) = match failed.class {
        ErrorClass::Transient | ErrorClass::BadOutput | ErrorClass::Timeout | ErrorClass::Panic => {
            (before.failures.saturating_add(2), planned.max_attempts, "failures")
        }
        ErrorClass::RateLimited => {
            (before.rate_limits.saturating_add(1), planned.max_rate_limited, "rate limits")
        }
        ErrorClass::Lost => (before.losses.saturating_add(1), planned.max_lost, "lost workers"),
        ErrorClass::Released => (0, 0, "releases"),
        ErrorClass::Quota
        | ErrorClass::Permanent
        | ErrorClass::TooLarge
        | ErrorClass::NoSourcesFound
        | ErrorClass::UnknownHandler
        | ErrorClass::Undecodable => (1, 0, "permanent failures"),
        // See [`parked`].
        ErrorClass::BudgetExhausted => (0, 0, "failures"),
    };
    match (used <= limit, failed.is_final) {
        (true, false) | (false, true) => Ok(()),
        (false, false) => Err(format!("StageFailed to be retried, with more {what} than the plan allows")),
        (true, true) => Err(format!("StageFailed for good, with fewer {what} than the plan allows")),
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::New => "not submitted",
        Phase::Open => "open",
        Phase::Completed => "completed",
        Phase::Failed => "failed",
        Phase::Cancelled => "cancelled",
    }
}
