//! Carries progress out of blocking work, and the wish to stop into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use quillwork_app::ports::provider::{Progress, ProviderError};

/// How often progress is passed on.
const INTERVAL: Duration = Duration::from_millis(100);

/// What the blocking side sees.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    done: AtomicUsize,
    total: AtomicUsize,
    cancelled: AtomicBool,
}

impl Watch {
    pub(crate) fn report(&self, done: usize, total: usize) {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// Stops the blocking side when the caller goes away.
struct CancelOnDrop(Arc<Watch>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` on a thread where it may block, and passes its progress on to `progress`.
///
/// # Errors
/// Those of `work`; transient if it panics.
pub(crate) async fn watched<T: Send + 'static>(
    progress: &dyn Progress,
    doing: &str,
    work: impl FnOnce(&Watch) -> Result<T, ProviderError> + Send + 'static,
) -> Result<T, ProviderError> {
    let watch = Arc::new(Watch::default());
    let _cancel = CancelOnDrop(Arc::clone(&watch));
    let seen = Arc::clone(&watch);
    let mut task = tokio::task::spawn_blocking(move || work(&seen));
    loop {
        match tokio::time::timeout(INTERVAL, &mut task).await {
            Ok(Ok(result)) => return result,
            Ok(Err(error)) => return Err(ProviderError::transient(format!("failed while {doing}: {error}"))),
            Err(_) => {
                let total = watch.total.load(Ordering::Relaxed);
                if total > 0 {
                    progress.report(watch.done.load(Ordering::Relaxed) as u64, total as u64, doing);
                }
                if progress.cancelled() {
                    watch.cancelled.store(true, Ordering::Relaxed);
                }
            }
        }
    }
}
