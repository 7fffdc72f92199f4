//! How far the job is: a line per stage that lives on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use quillwork_app::ports::store::Entry;
use quillwork_app::progress::StageProgress;
use quillwork_domain::id::JobId;
use quillwork_domain::job::Event;
use quillwork_domain::plan::Plan;

use crate::output;

/// Shows one job.
pub(super) struct Progress {
    job: JobId,
    n_stages: usize,
    n_begun: usize,
    started: Instant,
    /// The stage that runs, and how its lines begin.
    prefix: String,
    /// None where nobody watches.
    live: Option<Live>,
}

struct Live {
    lines: MultiProgress,
    current: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(job: JobId, plan: &Plan) -> Self {
        let live = output::is_watched().then(|| Live { lines: MultiProgress::new(), current: None });
        Self { job, n_stages: plan.len(), n_begun: 0, started: Instant::now(), prefix: String::new(), live }
    }

    /// Shows what happened.
    pub(super) fn show(&mut self, entry: &Entry) {
        match &entry.event {
            Event::StageStarted(started) => {
                if started.attempt.0 == 1 {
                    self.n_begun += 1;
                }
                self.started = Instant::now();
                self.prefix = format!("[{}/{}] {}", self.n_begun, self.n_stages, started.stage);
                self.begin(if started.attempt.0 == 1 {
                    String::new()
                } else {
                    format!("attempt {}", started.attempt)
                });
            }
            Event::StageCompleted(_) => {
                self.finish(&format!("done in {:.1} s", self.started.elapsed().as_secs_f64()))
            }
            Event::StageFailed(failed) => {
                let next = match failed.retry_at {
                    Some(retry_at) => format!("again at {retry_at}"),
                    None => "for good".to_owned(),
                };
                self.finish(&format!("failed: {}: {}; {next}", failed.class, failed.error));
            }
            Event::JobCancelled(_) => self.finish("cancelled"),
            Event::JobSubmitted(_)
            | Event::StepRecorded(_)
            | Event::JobCompleted(_)
            | Event::JobFailed(_)
            | Event::JobRetried(_)
            | Event::Queue(_)
            | Event::Archive(_) => {}
        }
    }

    /// Shows how far the running stage is. Too much for plain lines.
    pub(super) fn report(&mut self, report: &StageProgress) {
        let Some(bar) = self.live.as_ref().and_then(|live| live.current.as_ref()) else { return };
        if report.job != self.job {
            return;
        }
        if report.total > 0 {
            bar.set_message(format!("{} ({} of {})", report.message, report.done, report.total));
        } else {
            bar.set_message(report.message.clone());
        }
    }

    fn begin(&mut self, message: String) {
        match &mut self.live {
            Some(live) => {
                let bar = live.lines.add(ProgressBar::new_spinner());
                bar.set_style(style("{spinner} {prefix}  {wide_msg}"));
                bar.set_prefix(self.prefix.clone());
                bar.set_message(message);
                bar.enable_steady_tick(Duration::from_millis(100));
                live.current = Some(bar);
            }
            None if message.is_empty() => output::note(&format!("{}: started", self.prefix)),
            None => output::note(&format!("{}: {message}", self.prefix)),
        }
    }

    fn finish(&mut self, outcome: &str) {
        match self.live.as_mut().map(|live| live.current.take()) {
            Some(Some(bar)) => {
                bar.set_style(style("  {prefix}  {wide_msg}"));
                bar.finish_with_message(outcome.to_owned());
            }
            Some(None) => {}
            None => output::note(&format!("{}: {outcome}", self.prefix)),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
