//! A result that comes too late is refused by the store; if the store let it through, the invariants would tell.

use quillwork_app::ports::store::LogWriter;
use quillwork_domain::job::Phase;
use quillwork_domain::time::Timestamp;
use quillwork_tests::invariants;
use quillwork_tests::stack::{Deed, Ground, Handlers, Stack, job, runs};
use quillwork_tests::unaware::Unaware;
use tokio::sync::watch;

/// An engine loses its lease while it runs a stage and does not notice; another one does the stage; then the first one
/// comes with its result. Returns what is wrong with the log after that.
async fn late_result(fence_is_broken: bool) -> Vec<String> {
    let ground = Ground::postgres();
    let (finish, finished) = watch::channel(false);
    let slow = Handlers::default().with("slow", 1, move |_| Deed::ReturnWhen(finished.clone()));
    let unaware = move |inner| -> Box<dyn LogWriter> { Box::new(Unaware::new(inner, fence_is_broken)) };
    let lost = Stack::start_with(&ground, slow, ground.config(), unaware).await;
    let id = lost.submit(job(&["slow"])).await.unwrap().job;
    lost.job_when(id, runs).await;

    let quick = Handlers::default().with("slow", 1, |_| Deed::Return("in time"));
    let other = Stack::start(&ground, quick).await;
    assert_eq!(other.ended(id).await.phase, Phase::Completed);
    assert_eq!(
        other.kinds(id).await,
        [
            "JobSubmitted",
            "StageStarted",
            "StageFailed lost",
            "StageStarted",
            "StageCompleted",
            "JobCompleted"
        ]
    );

    finish.send_replace(true);
    // When nothing runs, the word of the last attempt was heard.
    lost.engine.drain().await;
    let n_results = other.kinds(id).await.iter().filter(|kind| *kind == "StageCompleted").count();
    assert_eq!(n_results, if fence_is_broken { 2 } else { 1 });
    let log = other.log().await;
    other.stop().await;
    lost.stop().await;
    invariants::check_log(&log, (Timestamp::default(), Timestamp::MAX))
}

#[tokio::test]
async fn a_late_result_has_no_effect() {
    assert_eq!(late_result(false).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_broken_fence_is_found() {
    let findings = late_result(true).await;
    for expected in
        ["StageCompleted at position 7", "has its result already", "the job has ended: it is completed"]
    {
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected}: {findings:#?}");
    }
}
