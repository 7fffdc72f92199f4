//! What an event makes of a job.

use crate::job::failure::Cost;
use crate::job::{Event, Job, Phase, StagePhase, StageState, Step};
use crate::plan::StageIndex;

/// Folds one event.
///
/// Total: an event that does not fit the state changes what it can and never panics, so that any history folds.
pub fn evolve(mut job: Job, event: &Event) -> Job {
    job.version = job.version.next();
    match event {
        Event::JobSubmitted(submitted) => {
            job.phase = Phase::Open;
            job.stages = vec![StageState::default(); submitted.plan.len()];
            job.submitted = Some(submitted.clone());
            job.budget = submitted.budget.map(|budget| budget.max_cost_micros);
            (job.round, job.rounds) = (1, 1);
            job.enter(StageIndex::default());
            for stage in job.group() {
                job.stages[stage].phase = StagePhase::Waiting { run_at: submitted.run_at };
            }
        }
        Event::StageStarted(started) => {
            if let Some(stage) = job.stage_named(&started.stage) {
                stage.phase = StagePhase::Running;
                stage.attempt = started.attempt;
            }
        }
        Event::StepRecorded(step) => {
            let cost = step.spent.as_ref().map_or(0, |spent| spent.cost_micros);
            job.spent = job.spent.saturating_add(cost);
            if let Some(stage) = job.stage_named(&step.stage) {
                stage.steps.push(Step { key: step.step_key.clone(), output: step.output.clone() });
            }
        }
        Event::StageCompleted(completed) => {
            if let Some(stage) = job.stage_named(&completed.stage) {
                *stage = StageState {
                    phase: StagePhase::Done,
                    attempt: stage.attempt,
                    output: Some(completed.output.clone()),
                    rework: completed.rework.clone().map(Box::new),
                    ..StageState::default()
                };
            }
            let group = job.group();
            let is_through = job.stages[group.clone()].iter().all(StageState::is_through);
            if is_through && group.end < job.stages.len() {
                job.enter(StageIndex::at(group.end));
            }
        }
        Event::StageFailed(failed) => {
            if let Some(stage) = job.stage_named(&failed.stage) {
                match failed.class.cost() {
                    Cost::Attempt => stage.failures = stage.failures.saturating_add(1),
                    Cost::Patience => stage.rate_limits = stage.rate_limits.saturating_add(1),
                    Cost::Worker => stage.losses = stage.losses.saturating_add(1),
                    Cost::Nothing | Cost::Everything => {}
                }
                stage.phase = match failed.retry_at {
                    until if failed.is_parked() => StagePhase::Parked { until },
                    Some(retry_at) => StagePhase::Retrying { retry_at },
                    None => StagePhase::Stopped,
                };
            }
        }
        Event::StagesReopened(reopened) => {
            if let Some(stage) = job.index_of(&reopened.stage) {
                job.reopen(stage);
            }
            job.round = reopened.round;
            job.rounds = job.rounds.saturating_add(1);
        }
        Event::JobCompleted(_) => {
            job.phase = Phase::Completed;
            job.feedback.clear();
        }
        Event::JobFailed(failed) => {
            job.stop(Phase::Failed);
            job.error = Some(failed.error.clone());
        }
        Event::JobCancelled(_) => job.stop(Phase::Cancelled),
        Event::JobRetried(_) => {
            for stage in job.to_retry() {
                let stage = &mut job.stages[stage];
                *stage = StageState {
                    phase: StagePhase::Waiting { run_at: None },
                    attempt: stage.attempt,
                    steps: std::mem::take(&mut stage.steps),
                    ..StageState::default()
                };
            }
            job.phase = Phase::Open;
            job.rounds = 1;
            job.retries = job.retries.saturating_add(1);
            job.error = None;
        }
        Event::JobResumed(_) => {
            for stage in job.stages.iter_mut().filter(|stage| stage.is_parked()) {
                stage.phase = StagePhase::Waiting { run_at: None };
            }
        }
        Event::BudgetSet(set) => job.budget = Some(set.max_cost_micros),
        // That it is paused shows in its stages.
        Event::JobPaused(_) | Event::Queue(_) | Event::Archive(_) | Event::Content(_) => {}
    }
    job
}

impl Job {
    fn stage_named(&mut self, name: &str) -> Option<&mut StageState> {
        let index = self.index_of(name)?;
        self.stages.get_mut(index.place())
    }

    /// Begins the group of `stage`.
    fn enter(&mut self, stage: StageIndex) {
        self.first = stage;
        self.first = StageIndex::at(self.group().start);
        for stage in self.group() {
            self.stages[stage].phase = StagePhase::Waiting { run_at: None };
        }
    }

    /// Goes back to the group of `stage`. Attempts go on counting, so that nothing that is late counts in a new round.
    fn reopen(&mut self, stage: StageIndex) {
        self.enter(stage);
        let group = self.group();
        self.feedback.clear();
        for (place, stage) in self.stages.iter_mut().enumerate().skip(group.start) {
            self.feedback.extend(stage.output.take());
            let phase = if group.contains(&place) { stage.phase } else { StagePhase::Pending };
            *stage = StageState { phase, attempt: stage.attempt, ..StageState::default() };
        }
    }

    /// Ends the job, and with it every stage that runs or waits.
    fn stop(&mut self, phase: Phase) {
        self.phase = phase;
        self.stages
            .iter_mut()
            .filter(|stage| stage.is_open())
            .for_each(|stage| stage.phase = StagePhase::Stopped);
    }
}
