use quillwork_domain::id::{Position, Version};
use quillwork_domain::queue::QueueCommand;

use super::history::{History, Step, job_id};
use super::place::{Place, in_every_place};

in_every_place!(shows_who_did_what_to_which_queue, goes_on_after_a_restart);

fn pause(reason: &str) -> QueueCommand {
    QueueCommand::Pause { handler: "research".into(), reason: Some(reason.into()) }
}

fn limit(max_running: Option<u32>) -> QueueCommand {
    QueueCommand::Limit { handler: "echo".into(), max_running }
}

async fn shows_who_did_what_to_which_queue(place: Place) {
    let mut history = History::default();
    history.control(pause("bill"));
    history.step(job_id(0), Step::Submit { run_at: None, labels: false });
    history.control(limit(Some(3)));
    let models = place.with(&history).await;
    assert_eq!(models.position(), Position(3));
    assert_eq!(models.stats().await.unwrap().jobs.submitted, 1);
    let rows = models.queues().await.unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| {
            (row.handler.as_str(), row.paused, row.max_running, row.reason.as_deref(), row.actor.as_str())
        })
        .collect();
    assert_eq!(
        shown,
        [("echo", false, Some(3), None, "client"), ("research", true, None, Some("bill"), "client")]
    );
    assert!(rows[0].changed_at > rows[1].changed_at);
}

async fn goes_on_after_a_restart(place: Place) {
    let mut history = History::default();
    history.control(pause("bill"));
    history.control(limit(Some(3)));
    place.with(&history).await;
    let n_projected = history.entries.len();
    history.control(QueueCommand::Resume { handler: "research".into() });
    history.control(limit(None));
    place.tables().await.project(&[&history.entries[n_projected..]]).await.unwrap();
    let rows = place.open(&super::log::MemoryLog::new(&history.entries)).await.queues().await.unwrap();
    let shown: Vec<_> =
        rows.iter().map(|row| (row.paused, row.max_running, row.reason.clone(), row.version)).collect();
    assert_eq!(shown, [(false, None, None, Version(4)), (false, None, None, Version(3))]);
}
