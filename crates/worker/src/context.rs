//! What a stage may do besides its own I/O: record steps, say how far it is, notice that it should end.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use quillwork_app::budgets::TenantBudgets;
use quillwork_app::draft::Piece;
use quillwork_app::engine::{Engine, FinishedStep, StageRun};
use quillwork_app::payload::{pack, unpack};
use quillwork_app::ports::call::{CacheUse, Call};
use quillwork_app::ports::model::{DraftSink, FailedCall};
use quillwork_app::ports::provider::Progress;
use quillwork_app::progress::StageProgress;
use quillwork_domain::id::{Attempt, JobId};
use quillwork_domain::job::{ErrorClass, Spent};
use quillwork_domain::payload::Payload;
use quillwork_domain::plan::StageIndex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::purse::Purse;
use crate::stage::StageError;

/// One attempt of one stage.
pub struct StageContext {
    run: StageRun,
    deadline: Instant,
    engine: Arc<Engine>,
    purse: Purse,
    /// What this attempt has finished, by key. What earlier ones have is in `run`.
    finished: Mutex<HashMap<String, Payload>>,
    /// Calls of this attempt that were billed and gave nothing.
    n_failed_calls: AtomicU32,
    /// The drafts that were begun; the last is to be forgotten with the attempt.
    drafts: Arc<Mutex<Pen>>,
}

impl StageContext {
    pub(crate) fn new(
        run: StageRun,
        deadline: Instant,
        engine: Arc<Engine>,
        budgets: Option<Arc<TenantBudgets>>,
    ) -> Self {
        let purse = Purse::new(run.funds, budgets);
        Self {
            run,
            deadline,
            engine,
            purse,
            finished: Mutex::default(),
            n_failed_calls: AtomicU32::new(0),
            drafts: Arc::default(),
        }
    }

    pub(crate) fn run(&self) -> &StageRun {
        &self.run
    }

    pub fn job(&self) -> JobId {
        self.run.job
    }

    /// The name that the stage has in the plan.
    pub fn stage(&self) -> &str {
        self.run.planned().map(|planned| planned.name.as_str()).unwrap_or_default()
    }

    /// Counts the starts of this stage, from 1.
    pub fn attempt(&self) -> Attempt {
        self.run.attempt
    }

    /// Counts from 1; one more each time that a stage sent the job back. Attempts go on counting over rounds.
    pub fn round(&self) -> u32 {
        self.run.round
    }

    /// How often somebody set the job going again.
    pub fn retries(&self) -> u32 {
        self.run.retries
    }

    /// Like [`StageContext::round`], but counts from 1 again after each manual retry: for who sends a job back only so
    /// often.
    pub fn rounds_since_retry(&self) -> u32 {
        self.run.rounds
    }

    /// When the attempt will be cut off.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Cancelled when the job is, or when the process ends. The attempt is dropped at its next await then; hand the
    /// token to work that runs elsewhere.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.run.cancel
    }

    /// Runs `work` once per round of the job, whatever happens to this attempt: its result is recorded under `key` before it is
    /// returned, and a later attempt gets the record.
    ///
    /// A key names the same work with the same input in every attempt, and is unique within the stage.
    pub async fn step<T, W, F>(&self, key: &str, work: W) -> Result<T, StageError>
    where
        T: Serialize + DeserializeOwned,
        W: FnOnce() -> F,
        F: Future<Output = Result<T, StageError>>,
    {
        if let Some(result) = self.finished(key).await? {
            return Ok(result);
        }
        let result = work().await?;
        self.record(key, &result, None).await?;
        Ok(result)
    }

    /// Like [`StageContext::step`], for work whose result may be `void`: that there is nothing, or not at present. Such a
    /// result stands until somebody sets the job going again, most likely because it has changed.
    pub async fn step_until_retried<T, W, F>(
        &self,
        key: &str,
        is_void: impl Fn(&T) -> bool,
        work: W,
    ) -> Result<T, StageError>
    where
        T: Serialize + DeserializeOwned,
        W: FnOnce() -> F,
        F: Future<Output = Result<T, StageError>>,
    {
        let mut key = key.to_owned();
        for retry in 1..=self.run.retries {
            match self.finished::<T>(&key).await? {
                Some(result) if is_void(&result) => key = format!("{key}~{retry}"),
                Some(result) => return Ok(result),
                None => break,
            }
        }
        self.step(&key, work).await
    }

    /// Like [`StageContext::step`], for work that is billed: what it cost is recorded together with its result.
    ///
    /// The work is not begun if the budget of the job, or of its tenant's day, is used up. Work that has begun is
    /// finished and recorded whatever it costs, so that a job may go over its budget by the calls that are under way.
    pub async fn paid_step<T, W, F>(&self, key: &str, work: W) -> Result<T, StageError>
    where
        T: Serialize + DeserializeOwned,
        W: FnOnce() -> F,
        F: Future<Output = Result<(T, Option<Spent>), StageError>>,
    {
        if let Some(result) = self.finished(key).await? {
            return Ok(result);
        }
        self.purse.may_spend(&self.run.meta.tenant).await?;
        let (result, spent) = work().await?;
        self.record(key, &result, spent).await?;
        Ok(result)
    }

    /// What the step returned, if it was finished by this attempt or an earlier one.
    async fn finished<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StageError> {
        let Some(output) = self.recorded(key) else { return Ok(None) };
        let json = unpack(self.engine.feed().reader().as_ref(), &output)
            .await
            .map_err(|error| StageError::permanent(format!("recorded step {key:?}: {error}")))?;
        serde_json::from_str(json.get()).map(Some).map_err(|error| {
            StageError::permanent(format!("recorded step {key:?} has another shape: {error}"))
        })
    }

    /// Records what was billed before `draft` became an answer, or did not: nothing of it is used, and all of it counts.
    pub async fn record_failed_calls(&self, step: &str, draft: &mut Draft) -> Result<(), StageError> {
        for call in draft.failed.drain(..) {
            let n = self.n_failed_calls.fetch_add(1, Ordering::Relaxed) + 1;
            let spent = Spent {
                provider: call.provider.clone(),
                model: call.model.clone(),
                input_tokens: call.usage.input,
                output_tokens: call.usage.output,
                cost_micros: call.cost_micros,
                prices: call.prices.clone(),
            };
            let key = format!("failed:{step}:{}.{n}", self.attempt());
            self.record(&key, &call, Some(spent)).await?;
        }
        Ok(())
    }

    fn recorded(&self, key: &str) -> Option<Payload> {
        let earlier = self.run.steps.iter().find(|step| step.key == key).map(|step| step.output.clone());
        earlier.or_else(|| self.finished.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    async fn record<T: Serialize>(
        &self,
        key: &str,
        result: &T,
        spent: Option<Spent>,
    ) -> Result<(), StageError> {
        let json = serde_json::value::to_raw_value(result).map_err(|error| {
            StageError::permanent(format!("step {key:?} cannot be written as JSON: {error}"))
        })?;
        let (payload, blob) = pack(json)
            .map_err(|error| StageError::permanent(format!("step {key:?} cannot be compressed: {error}")))?;
        let StageRun { job, stage, attempt, .. } = self.run;
        let cost_micros = spent.as_ref().map_or(0, |spent| spent.cost_micros);
        let step = FinishedStep { key: key.to_owned(), payload: payload.clone(), blob, spent };
        match self.engine.record_step(job, stage, attempt, step).await {
            Some(recorded) => {
                self.purse.note(&self.run.meta.tenant, recorded, cost_micros);
                let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
                finished.insert(key.to_owned(), payload);
                Ok(())
            }
            None => Err(StageError::new(
                ErrorClass::Lost,
                format!("step {key:?} was not recorded: the attempt is over"),
            )),
        }
    }

    /// True if the step was finished before, in this attempt or an earlier one.
    pub fn has_step(&self, key: &str) -> bool {
        self.recorded(key).is_some()
    }

    /// Where to write what people may read while it is written. A second one begins anew.
    pub fn draft(&self) -> Draft {
        let mut draft = Draft {
            job: self.run.job,
            stage: self.stage().to_owned(),
            attempt: self.run.attempt,
            pen: self.drafts.clone(),
            engine: self.engine.clone(),
            failed: vec![],
        };
        draft.restart();
        draft
    }

    /// What a call to a provider from this attempt carries.
    pub fn call(&self, cache: CacheUse) -> Call {
        Call {
            deadline: self.deadline,
            cancel: self.run.cancel.clone(),
            cache,
            tenant: self.run.meta.tenant.clone(),
        }
    }

    /// A handle to report progress with, also from other threads.
    pub fn progress(&self) -> Arc<dyn Progress> {
        Arc::new(Reporter {
            job: self.run.job,
            index: self.run.stage,
            name: self.stage().to_owned(),
            cancel: self.run.cancel.clone(),
            engine: self.engine.clone(),
        })
    }
}

struct Reporter {
    job: JobId,
    index: StageIndex,
    name: String,
    cancel: CancellationToken,
    engine: Arc<Engine>,
}

impl Progress for Reporter {
    fn report(&self, done: u64, total: u64, message: &str) {
        self.engine.progress().report(StageProgress {
            job: self.job,
            index: self.index,
            stage: self.name.clone(),
            done,
            total,
            message: message.to_owned(),
        });
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl Drop for StageContext {
    fn drop(&mut self) {
        let pen = *self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        if pen.draft > 0 {
            self.engine.drafts().write(Piece {
                job: self.run.job,
                stage: self.stage().to_owned(),
                attempt: self.run.attempt,
                draft: pen.draft,
                offset: pen.offset,
                text: String::new(),
                ended: true,
            });
        }
    }
}

/// Where an attempt writes.
#[derive(Clone, Copy, Default)]
struct Pen {
    /// 0 before the first.
    draft: u32,
    offset: usize,
}

/// A text in the making.
pub struct Draft {
    job: JobId,
    stage: String,
    attempt: Attempt,
    pen: Arc<Mutex<Pen>>,
    engine: Arc<Engine>,
    /// Calls that were billed before an answer came.
    failed: Vec<FailedCall>,
}

impl Draft {
    fn write(&self, pen: Pen, text: &str) {
        let Self { job, attempt, .. } = *self;
        let (stage, text) = (self.stage.clone(), text.to_owned());
        let Pen { draft, offset } = pen;
        self.engine.drafts().write(Piece { job, stage, attempt, draft, offset, text, ended: false });
    }
}

impl DraftSink for Draft {
    fn push(&mut self, text: &str) {
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(*pen, text);
        pen.offset += text.len();
    }

    fn restart(&mut self) {
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        *pen = Pen { draft: pen.draft + 1, offset: 0 };
        self.write(*pen, "");
    }

    fn billed(&mut self, call: FailedCall) {
        self.failed.push(call);
    }
}
