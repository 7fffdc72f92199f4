//! A few more tries within one call, for what is gone at once: a connection that was reset, a 503 between two deploys.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::ProviderError;
use quillwork_domain::job::ErrorClass;
use tokio::time::Instant;

const MAX_RETRIES: usize = 2;

/// No retry begins later than this after the first try did. What fails slowly is the queue's to try again.
const WITHIN: Duration = Duration::from_secs(2);

/// A retry that has less time than this is not worth its cost.
const MIN_USEFUL: Duration = Duration::from_secs(1);

/// Runs `work` up to three times, while it fails transiently and names no time to wait.
pub(crate) async fn shortly<T, F>(call: &Call, mut work: impl FnMut() -> F) -> Result<T, ProviderError>
where
    F: Future<Output = Result<T, ProviderError>>,
{
    let start = Instant::now();
    let mut delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(1))
        .with_max_times(MAX_RETRIES)
        .with_jitter()
        .build();
    loop {
        let error = match work().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let may_pass = error.class == ErrorClass::Transient && error.retry_after.is_none();
        let Some(delay) = delays.next().filter(|_| may_pass) else { return Err(error) };
        let begins = Instant::now() + delay;
        if begins > start + WITHIN || begins + MIN_USEFUL > Instant::from_std(call.deadline) {
            return Err(error);
        }
        tracing::debug!(error = %error, delay_ms = delay.as_millis() as u64, "trying again within the call");
        tokio::select! {
            () = call.cancel.cancelled() => return Err(error),
            () = tokio::time::sleep_until(begins) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the work was tried, given how its tries end; each takes some time.
    async fn tries(call: &Call, takes: Duration, error: ProviderError) -> usize {
        let mut n = 0;
        let done: Result<(), _> = shortly(call, || {
            n += 1;
            let error = error.clone();
            async move {
                tokio::time::sleep(takes).await;
                Err(error)
            }
        })
        .await;
        assert_eq!(done.unwrap_err().class, error.class, "the error is that of the last try");
        n
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_be_gone_at_once_is_tried_again() {
        let (none, hour) = (Duration::ZERO, Duration::from_secs(3_600));
        let transient = ProviderError::transient("reset");
        let asked = ProviderError { retry_after: Some(none), ..transient.clone() };
        let of = |class| ProviderError { class, ..transient.clone() };
        let cases = [
            (transient.clone(), none, hour, 3),
            (transient.clone(), WITHIN, hour, 1),
            (transient.clone(), none, MIN_USEFUL, 1),
            (asked, none, hour, 1),
            (of(ErrorClass::RateLimited), none, hour, 1),
            (of(ErrorClass::Permanent), none, hour, 1),
            (of(ErrorClass::Timeout), none, hour, 1),
            (of(ErrorClass::BadOutput), none, hour, 1),
        ];
        for (error, takes, time, expected) in cases {
            let class = error.class;
            assert_eq!(
                tries(&Call::within(time), takes, error).await,
                expected,
                "{class}, {takes:?} of {time:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_wants_is_not_tried_again() {
        let call = Call::within(Duration::from_secs(3_600));
        call.cancel.cancel();
        assert_eq!(tries(&call, Duration::ZERO, ProviderError::transient("reset")).await, 1);
    }
}
