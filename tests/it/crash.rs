//! The process dies, or the store fails, at every commit in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quillwork_domain::chain;
use quillwork_domain::id::JobId;
use quillwork_domain::job::{JobSubmitted, Phase};
use quillwork_domain::payload::Sha256Digest;
use quillwork_tests::faulty::{Fault, Faulty};
use quillwork_tests::stack::{Deed, Ground, Handlers, PATIENCE, Stack, job_of};
use tokio::sync::watch;

/// Stages that each record one step, which counts how often it was done.
fn handlers(n_done: &Arc<AtomicUsize>) -> Handlers {
    let n_done = n_done.clone();
    Handlers::default().with("steps", 4, move |_| Deed::StepThenReturn(n_done.clone()))
}

/// One stage, and two that run at the same time after it.
fn three_stages() -> JobSubmitted {
    JobSubmitted {
        idempotency_key: Some("the job".into()),
        request_digest: Some(Sha256Digest::of(b"body")),
        ..job_of(&[&["steps"], &["steps", "steps"]])
    }
}

/// What holds at the end, whatever happened on the way.
async fn check(stack: &Stack, id: JobId) {
    assert_eq!(stack.ended(id).await.phase, Phase::Completed);
    let kinds = stack.kinds(id).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "StageCompleted").count(), 3, "{kinds:?}");
    let mut previous = chain::GENESIS;
    for (index, event) in stack.log().await.iter().enumerate() {
        assert_eq!(event.position.0, index as u64 + 1);
        assert_eq!(event.hash, chain::link(&previous, event));
        previous = event.hash;
    }
    assert!(stack.reader.tasks(None, 10).await.unwrap().is_empty());
}

/// Runs a job while `fault` happens; returns false once the job makes fewer commits than that.
async fn survives(ground: &Ground, fault: Fault) -> bool {
    let n_done = Arc::new(AtomicUsize::new(0));
    let faults = watch::Sender::new(0);
    let mut struck = faults.subscribe();
    let wrap = move |inner| -> Box<dyn quillwork_app::ports::store::LogWriter> {
        Box::new(Faulty { inner, fault, n_commits: 0, n_faults: faults })
    };
    let stack = Stack::start_with(ground, handlers(&n_done), ground.config(), wrap).await;
    let crashes = matches!(fault, Fault::CrashBefore(_) | Fault::CrashAfter(_));
    if crashes {
        let finished = tokio::select! {
            _ = struck.wait_for(|n_faults| *n_faults > 0) => false,
            () = async {
                let accepted = stack.submit(three_stages()).await.unwrap();
                stack.ended(accepted.job).await;
            } => true,
        };
        stack.crash();
        if finished {
            return false;
        }
        let stack = Stack::start(ground, handlers(&n_done)).await;
        let accepted = stack.submit(three_stages()).await.unwrap();
        check(&stack, accepted.job).await;
        stack.stop().await;
    } else {
        let accepted = tokio::time::timeout(PATIENCE, async {
            loop {
                match stack.submit(three_stages()).await {
                    Ok(accepted) => return accepted,
                    Err(refusal) => assert!(refusal.to_string().contains("store"), "{refusal}"),
                }
            }
        });
        check(&stack, accepted.await.unwrap().job).await;
        stack.stop().await;
    }
    // A recorded step is never done again. One that was done and not yet recorded is, and two run at the same time.
    let n_done = n_done.load(Ordering::SeqCst);
    assert!((3..=5).contains(&n_done), "{fault:?}: steps done {n_done} times");
    crashes || *struck.borrow() > 0
}

async fn for_every_commit(new: fn() -> Ground, fault: impl Fn(usize) -> Fault) {
    let mut n = 1;
    while survives(&new(), fault(n)).await {
        n += 1;
    }
    assert!(n > 4, "a job of three stages with steps takes more than {n} commits");
}

/// A test of each fault at every commit, on each store.
macro_rules! at_every_commit {
    ($($case:ident: $fault:expr,)*) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test] async fn $case() { for_every_commit(Ground::sqlite, $fault).await; })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test] async fn $case() { for_every_commit(Ground::postgres, $fault).await; })*
        }
    };
}

at_every_commit! {
    dying_before_any_commit_loses_nothing_that_was_acknowledged: Fault::CrashBefore,
    dying_after_any_commit_loses_nothing: Fault::CrashAfter,
    a_disk_that_is_full_for_a_while_loses_nothing: |n| Fault::FailFor(n, 2),
    a_commit_that_fails_after_it_was_written_is_found_out: Fault::FailAfter,
}
