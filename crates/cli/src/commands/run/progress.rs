//! How far the job is: a line per stage that lives on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use quillwork_app::ports::store::Entry;
use quillwork_app::progress::StageProgress;
use quillwork_domain::id::JobId;
use quillwork_domain::job::Event;
use quillwork_domain::plan::{Plan, StageIndex};

use crate::output;

/// Shows one job.
pub(super) struct Progress {
    job: JobId,
    plan: Plan,
    /// The stages that run, by name.
    running: BTreeMap<String, Running>,
    /// None where nobody watches.
    lines: Option<MultiProgress>,
}

struct Running {
    started: Instant,
    /// None where nobody watches.
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(job: JobId, plan: &Plan) -> Self {
        let lines = output::is_watched().then(MultiProgress::new);
        Self { job, plan: plan.clone(), running: BTreeMap::new(), lines }
    }

    /// Shows what happened.
    pub(super) fn show(&mut self, entry: &Entry) {
        match &entry.event {
            Event::StageStarted(started) => {
                let message = match started.attempt.0 {
                    1 => String::new(),
                    attempt => format!("attempt {attempt}"),
                };
                self.begin(&started.stage, message);
            }
            Event::StageCompleted(completed) => {
                let stage = &completed.stage;
                let took = self.running.get(stage).map(|running| running.started.elapsed());
                self.finish(stage, &format!("done in {:.1} s", took.unwrap_or_default().as_secs_f64()));
            }
            Event::StageFailed(failed) => {
                let next = match failed.retry_at {
                    Some(retry_at) => format!("again at {retry_at}"),
                    None if failed.is_parked() => "waits for money".to_owned(),
                    None => "for good".to_owned(),
                };
                self.finish(&failed.stage, &format!("failed: {}: {}; {next}", failed.class, failed.error));
            }
            Event::StagesReopened(reopened) => {
                let round = format!("round {}, from {}: {}", reopened.round, reopened.stage, reopened.reason);
                match &self.lines {
                    // A terminal that is gone shows nothing.
                    Some(lines) => drop(lines.println(round)),
                    None => output::note(&round),
                }
            }
            Event::JobCancelled(_) | Event::JobFailed(_) => {
                let stages: Vec<String> = self.running.keys().cloned().collect();
                stages.iter().for_each(|stage| self.finish(stage, "cancelled"));
            }
            Event::JobSubmitted(_)
            | Event::StepRecorded(_)
            | Event::JobCompleted(_)
            | Event::JobRetried(_)
            | Event::JobPaused(_)
            | Event::JobResumed(_)
            | Event::BudgetSet(_)
            | Event::Queue(_)
            | Event::Archive(_)
            | Event::Content(_) => {}
        }
    }

    /// Shows how far a running stage is. Too much for plain lines.
    pub(super) fn report(&mut self, report: &StageProgress) {
        let running = self.running.get(&report.stage).filter(|_| report.job == self.job);
        let Some(bar) = running.and_then(|running| running.bar.as_ref()) else { return };
        if report.total > 0 {
            bar.set_message(format!("{} ({} of {})", report.message, report.done, report.total));
        } else {
            bar.set_message(report.message.clone());
        }
    }

    /// How the lines of a stage begin.
    fn prefix(&self, stage: &str) -> String {
        let place = self.plan.index_of(stage).map_or(0, StageIndex::place);
        format!("[{}/{}] {stage}", place + 1, self.plan.len())
    }

    fn begin(&mut self, stage: &str, message: String) {
        let prefix = self.prefix(stage);
        let bar = self.lines.as_ref().map(|lines| {
            let bar = lines.add(ProgressBar::new_spinner());
            bar.set_style(style("{spinner} {prefix}  {wide_msg}"));
            bar.set_prefix(prefix.clone());
            bar.set_message(message.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if bar.is_none() {
            let what = if message.is_empty() { "started" } else { &message };
            output::note(&format!("{prefix}: {what}"));
        }
        self.running.insert(stage.to_owned(), Running { started: Instant::now(), bar });
    }

    fn finish(&mut self, stage: &str, outcome: &str) {
        match self.running.remove(stage).map(|running| running.bar) {
            Some(Some(bar)) => {
                bar.set_style(style("  {prefix}  {wide_msg}"));
                bar.finish_with_message(outcome.to_owned());
            }
            Some(None) => output::note(&format!("{}: {outcome}", self.prefix(stage))),
            None => {}
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
