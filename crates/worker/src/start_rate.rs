//! How often the stages of one handler start, across all processes that share a limiter.

use std::sync::Arc;
use std::time::Duration;

use quillwork_app::ports::rate_limiter::{Decision, Rate, RateLimiter};
use quillwork_domain::job::ErrorClass;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::stage::StageError;

/// Up to here an attempt waits in its slot; for longer its job goes back to the queue.
///
/// The rate is the handler's, and so are the slots: a slot that is given up could only start another stage that waits
/// for the same turn. What is at the head of the queue keeps its place, and waiting writes no events.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// The turns of one handler in this process.
pub struct StartRate {
    limiter: Arc<dyn RateLimiter>,
    rate: Rate,
    key: String,
    /// First come, first served; and only one of the slots asks the limiter.
    line: Mutex<()>,
    closed: CancellationToken,
}

impl StartRate {
    pub fn new(limiter: Arc<dyn RateLimiter>, handler: &str, rate: Rate) -> Self {
        let key = format!("stage:{handler}");
        Self { limiter, rate, key, line: Mutex::new(()), closed: CancellationToken::new() }
    }

    /// Waits until a stage may start. An error gives the attempt back without cost, or until a turn that is far away.
    pub(crate) async fn turn(&self) -> Result<(), StageError> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => {
                Err(StageError::new(ErrorClass::Released, "the worker is shutting down; the stage had not begun"))
            }
            turn = self.next() => turn,
        }
    }

    /// Gives everyone who waits back to the queue, and lets nobody through any more.
    pub fn close(&self) {
        self.closed.cancel();
    }

    async fn next(&self) -> Result<(), StageError> {
        let _head = self.line.lock().await;
        loop {
            match self.limiter.acquire(&self.key, self.rate, 1).await {
                Decision::Allowed => return Ok(()),
                Decision::Denied { retry_after } if retry_after <= MAX_WAIT => {
                    tokio::time::sleep(retry_after).await;
                }
                Decision::Denied { retry_after } => {
                    let seconds = retry_after.as_secs();
                    return Err(StageError {
                        class: ErrorClass::RateLimited,
                        message: format!(
                            "the start rate of this stage's handler is used up for {seconds} s (stages.<handler>.rate)"
                        ),
                        retry_after: Some(retry_after),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Scripted;

    use async_trait::async_trait;
    use futures::FutureExt as _;

    use super::*;

    /// Answers from a list, from its end; then allows.
    struct Answers(Scripted<Vec<Decision>>);

    #[async_trait]
    impl RateLimiter for Answers {
        async fn acquire(&self, key: &str, _: Rate, n: u32) -> Decision {
            assert_eq!((key, n), ("stage:echo", 1));
            self.0.lock().unwrap().pop().unwrap_or(Decision::Allowed)
        }
    }

    fn answering(answers: &[Decision]) -> StartRate {
        let rate = Rate::new(1, Duration::from_secs(1), 1).unwrap();
        StartRate::new(Arc::new(Answers(Scripted::new(answers.to_vec()))), "echo", rate)
    }

    fn denied(retry_after: Duration) -> Decision {
        Decision::Denied { retry_after }
    }

    #[tokio::test]
    async fn a_short_wait_is_waited() {
        let rate = answering(&[denied(Duration::from_millis(2)), denied(Duration::from_millis(1))]);
        assert_eq!(rate.turn().await, Ok(()));
        assert!(rate.turn().now_or_never().is_some(), "nothing is left to wait for");
    }

    #[tokio::test]
    async fn a_long_wait_goes_back_to_the_queue() {
        let far = MAX_WAIT + Duration::from_millis(1);
        let error = answering(&[denied(far)]).turn().await.unwrap_err();
        assert_eq!((error.class, error.retry_after), (ErrorClass::RateLimited, Some(far)));
    }

    #[tokio::test]
    async fn closing_gives_back_who_waits_and_who_comes_later() {
        let rate = answering(&[denied(MAX_WAIT)]);
        let waiting = rate.turn();
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        rate.close();
        assert_eq!(waiting.await.unwrap_err().class, ErrorClass::Released);
        assert_eq!(rate.turn().await.unwrap_err().class, ErrorClass::Released);
    }
}
