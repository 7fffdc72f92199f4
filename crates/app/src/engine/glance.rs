//! Looking for work without keeping others from writing. What is seen so counts under the lock if nothing was written
//! since; if something was, at least the jobs need not be read again.

use std::collections::HashSet;
use std::time::Duration;

use quillwork_domain::id::{JobId, Position};
use tokio::time::Instant;

use crate::engine::handle::Mode;
use crate::engine::run::EngineLoop;
use crate::ports::store::{Claim, StoreError, Task};

/// Tasks that waited before the log was locked.
#[derive(Debug, Default)]
pub(crate) struct Glance {
    /// The log had grown so far when the look began.
    at: Position,
    seen: Vec<(Claim, Vec<Task>)>,
    /// Jobs of these tasks whose histories were read then.
    jobs: HashSet<JobId>,
}

impl Glance {
    /// What the store would answer to these claims; None if it must be asked.
    pub(crate) fn answer(&self, claims: &[Claim], head: Position) -> Option<Vec<Vec<Task>>> {
        let answer = |claim: &Claim| {
            let (seen, tasks) = self
                .seen
                .iter()
                .find(|(seen, _)| seen.handler == claim.handler && seen.after == claim.after)?;
            let is_whole = tasks.len() < seen.limit || claim.limit <= seen.limit;
            is_whole.then(|| tasks.iter().take(claim.limit).cloned().collect())
        };
        if self.at != head { None } else { claims.iter().map(answer).collect() }
    }

    /// True if the job was read while its task waited. As long as that task waits, hardly anything can have happened to
    /// the job; if something has, the version of the next event is taken and the store refuses the batch.
    pub(crate) fn has_read(&self, job: JobId) -> bool {
        self.jobs.contains(&job)
    }
}

/// The shortest and the longest that a process lets others go first.
const MIN_HESITATION: Duration = Duration::from_millis(1);
const MAX_HESITATION: Duration = Duration::from_millis(64);

/// In which time half of a hesitation is forgotten.
const HALF_LIFE: Duration = Duration::from_millis(50);

/// Several processes hear of the same tasks, and one of them gets them. Who came in vain lets others go first the next
/// time, and longer each time, so that he does not keep them from their work; who found something waits less and less.
/// So a busy fleet has as many processes at work as there is work for, and each commits larger batches. Where tasks come
/// seldom nobody is in anybody's way, and nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    hesitation: Duration,
    heard_at: Option<Instant>,
    /// Nothing was found since something was heard of.
    expects: bool,
    pub(crate) until: Option<Instant>,
}

/// Half as long, or not at all.
fn less(hesitation: Duration) -> Duration {
    let hesitation = hesitation / 2;
    if hesitation < MIN_HESITATION { Duration::ZERO } else { hesitation }
}

impl Patience {
    /// Another process let this one know of tasks.
    pub(crate) fn heard(&mut self, now: Instant) {
        let mut forgotten = self.heard_at.map(|then| now.saturating_duration_since(then)).unwrap_or_default();
        while !self.hesitation.is_zero() && forgotten >= HALF_LIFE {
            self.hesitation = less(self.hesitation);
            forgotten -= HALF_LIFE;
        }
        (self.heard_at, self.expects) = (Some(now), true);
        if !self.hesitation.is_zero() && self.until.is_none() {
            self.until = Some(now + self.hesitation);
        }
    }

    /// True if it is too early to look.
    fn lasts(&mut self) -> bool {
        let lasts = self.until.is_some_and(|until| until > Instant::now());
        if !lasts {
            self.until = None;
        }
        lasts
    }

    pub(crate) fn came_in_vain(&mut self) {
        if std::mem::take(&mut self.expects) {
            self.hesitation = (self.hesitation * 2).clamp(MIN_HESITATION, MAX_HESITATION);
        }
    }

    pub(crate) fn found(&mut self) {
        *self = Self { hesitation: less(self.hesitation), expects: false, until: None, ..*self };
    }
}

impl EngineLoop {
    /// True if a free slot may find a task. With others about, the store is asked without keeping them out, so that an
    /// idle process does not slow down a busy one.
    pub(super) async fn finds_work(&mut self, mode: Mode) -> Result<bool, StoreError> {
        if self.patience.lasts() || mode >= Mode::Draining {
            return Ok(false);
        }
        let free = self.slots.free();
        let claims: Vec<_> =
            free.iter().filter_map(|(handler, n_free)| self.queues.claim(handler, *n_free)).collect();
        if claims.is_empty() || !self.shared {
            return Ok(!claims.is_empty());
        }
        let at = self.feed.head();
        let found = self.writer.ready(&claims, self.now()).await?;
        for (claim, tasks) in claims.iter().zip(&found) {
            self.queues.set_waiting(&claim.handler, !tasks.is_empty());
        }
        if found.iter().all(Vec::is_empty) {
            self.patience.came_in_vain();
            return Ok(false);
        }
        // Of a backlog somebody else may take these, and leave others.
        let is_whole = |(claim, tasks): &(&Claim, &Vec<Task>)| tasks.len() < claim.limit;
        let whole = claims.iter().zip(&found).filter(is_whole);
        let jobs: HashSet<JobId> = whole.flat_map(|(_, tasks)| tasks).map(|task| task.key.job).collect();
        let unknown = jobs.iter().copied().filter(|job| !self.is_known(*job)).collect();
        self.read(unknown).await?;
        self.glance = Glance { at, seen: claims.into_iter().zip(found).collect(), jobs };
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quillwork_domain::plan::StageIndex;
    use quillwork_domain::time::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::ports::store::TaskKey;

    fn task(id: u128) -> Task {
        Task {
            key: TaskKey { job: JobId(Uuid::from_u128(id)), stage: StageIndex(0) },
            handler: "echo".into(),
            tenant: "default".into(),
            priority: 0,
            run_at: Timestamp::default(),
        }
    }

    fn claim(after: &str, limit: usize) -> Claim {
        Claim { handler: "echo".into(), after: Arc::from(after), limit }
    }

    /// How many tasks a glance that saw two with room for `limit` answers to `asked`, with the log at `head`.
    #[track_caller]
    fn check(limit: usize, asked: &Claim, head: u64, expected: Option<usize>) {
        let seen = vec![(claim("a", limit), vec![task(1), task(2)])];
        let glance = Glance { at: Position(7), seen, jobs: HashSet::new() };
        let answer = glance.answer(std::slice::from_ref(asked), Position(head));
        assert_eq!(answer.map(|tasks| tasks[0].len()), expected);
    }

    #[test]
    fn what_was_seen_counts_until_something_is_written() {
        check(2, &claim("a", 2), 7, Some(2));
        check(2, &claim("a", 2), 8, None);
    }

    #[test]
    fn more_room_than_before_needs_a_new_look_unless_everything_was_seen() {
        check(2, &claim("a", 1), 7, Some(1));
        check(2, &claim("a", 3), 7, None);
        check(3, &claim("a", 9), 7, Some(2));
    }

    #[test]
    fn another_turn_needs_a_new_look() {
        check(2, &claim("b", 2), 7, None);
    }

    /// How long a process hesitates that hears of tasks now, after it came in vain so often.
    fn after_in_vain(n_times: u32, now: Instant) -> Patience {
        let mut patience = Patience::default();
        for _ in 0..n_times {
            patience.heard(now);
            patience.came_in_vain();
            patience.until = None;
        }
        patience
    }

    #[track_caller]
    fn check_hesitation(mut patience: Patience, now: Instant, expected_ms: Option<u64>) {
        patience.heard(now);
        assert_eq!(patience.until.map(|until| until - now), expected_ms.map(Duration::from_millis));
    }

    #[test]
    fn who_came_in_vain_lets_others_go_first() {
        let now = Instant::now();
        check_hesitation(after_in_vain(0, now), now, None);
        check_hesitation(after_in_vain(1, now), now, Some(1));
        check_hesitation(after_in_vain(3, now), now, Some(4));
        check_hesitation(after_in_vain(30, now), now, Some(64));
    }

    #[test]
    fn who_found_something_waits_less_and_less() {
        let now = Instant::now();
        let mut patience = after_in_vain(2, now);
        patience.found();
        check_hesitation(patience, now, Some(1));
        let mut patience = after_in_vain(1, now);
        patience.found();
        check_hesitation(patience, now, None);
    }

    #[test]
    fn where_tasks_come_seldom_nobody_waits() {
        let now = Instant::now();
        check_hesitation(after_in_vain(30, now), now + HALF_LIFE * 2, Some(16));
        check_hesitation(after_in_vain(30, now), now + HALF_LIFE * 7, None);
    }

    #[test]
    fn a_look_that_nobody_asked_for_is_not_in_vain() {
        let mut patience = Patience::default();
        patience.came_in_vain();
        check_hesitation(patience, Instant::now(), None);
    }
}
