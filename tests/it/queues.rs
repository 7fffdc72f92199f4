//! Who gets a free slot: tenants in turns, paused queues, and limits over all processes.

use quillwork_app::engine::Caller;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, StreamId};
use quillwork_domain::job::{Event, Phase};
use quillwork_domain::queue::QueueCommand;
use quillwork_domain::wire;
use quillwork_tests::stack::{Deed, Ground, Handlers, PATIENCE, Stack, caller, job, runs};

quillwork_tests::on_every_store!(
    a_backlog_of_one_tenant_does_not_hold_up_another,
    a_paused_queue_starts_nothing_until_it_is_resumed,
    a_limit_bounds_what_runs_at_once,
);

fn of(tenant: &str) -> Caller {
    Caller { tenant: tenant.into(), ..caller() }
}

fn echo(slots: usize) -> Handlers {
    Handlers::default().with("echo", slots, |_| Deed::Return("done"))
}

fn pause() -> QueueCommand {
    QueueCommand::Pause { handler: "echo".into(), reason: Some("test".into()) }
}

fn resume() -> QueueCommand {
    QueueCommand::Resume { handler: "echo".into() }
}

/// The jobs in the order in which their stages were started.
fn starts(log: &[Recorded]) -> Vec<JobId> {
    let started = log.iter().filter(|event| event.kind == "StageStarted");
    started.filter_map(|event| event.stream.job()).collect()
}

/// The most stages that ran at once, by the log.
fn most_at_once(log: &[Recorded]) -> usize {
    let mut running = 0_usize;
    let mut most = 0;
    for recorded in log {
        match wire::decode(recorded).unwrap() {
            Event::StageStarted(_) => running += 1,
            Event::StageCompleted(_) | Event::StageFailed(_) => running -= 1,
            Event::JobSubmitted(_)
            | Event::StepRecorded(_)
            | Event::JobCompleted(_)
            | Event::JobFailed(_)
            | Event::JobCancelled(_)
            | Event::JobRetried(_)
            | Event::StagesReopened(_)
            | Event::JobPaused(_)
            | Event::JobResumed(_)
            | Event::BudgetSet(_)
            | Event::Queue(_)
            | Event::Archive(_)
            | Event::Content(_) => {}
        }
        most = most.max(running);
    }
    most
}

async fn a_backlog_of_one_tenant_does_not_hold_up_another(ground: Ground) {
    let stack = Stack::start(&ground, echo(1)).await;
    // While nothing starts, the order of arrival is that of the test.
    stack.engine.control(caller(), pause()).await.unwrap();
    for _ in 0..300 {
        stack.submit_as(of("busy"), job(&["echo"])).await.unwrap();
    }
    let mut late = Vec::new();
    for tenant in ["quiet", "another"] {
        late.push(stack.submit_as(of(tenant), job(&["echo"])).await.unwrap().job);
    }
    stack.engine.control(caller(), resume()).await.unwrap();
    for id in &late {
        assert_eq!(stack.ended(*id).await.phase, Phase::Completed);
    }
    let starts = starts(&stack.log().await);
    for id in late {
        let place = starts.iter().position(|started| *started == id).unwrap();
        assert!(place < 4, "after {place} others");
    }
    stack.stop().await;
}

async fn a_paused_queue_starts_nothing_until_it_is_resumed(ground: Ground) {
    let stack = Stack::start(&ground, echo(4)).await;
    let paused = stack.engine.control(caller(), pause()).await.unwrap();
    assert!(paused.control.paused);
    let again = stack.engine.control(caller(), pause()).await.unwrap();
    assert_eq!(again.position, paused.position, "a repeated command makes no event");
    let id = stack.submit(job(&["echo", "echo"])).await.unwrap().job;
    // The next commit would start the stage if it could.
    let other = stack.submit(job(&["echo"])).await.unwrap().job;
    assert_eq!(stack.kinds(id).await, ["JobSubmitted"]);
    stack.engine.control(caller(), resume()).await.unwrap();
    for id in [id, other] {
        assert_eq!(stack.ended(id).await.phase, Phase::Completed);
    }
    let log = stack.log().await;
    let of_queues: Vec<_> = log.iter().filter(|event| event.stream == StreamId::Queues).collect();
    let kinds: Vec<_> = of_queues.iter().map(|event| event.kind.as_ref()).collect();
    assert_eq!(kinds, ["QueuePaused", "QueueResumed"]);
    stack.stop().await;
}

async fn a_limit_bounds_what_runs_at_once(ground: Ground) {
    let stack = Stack::start(&ground, echo(8)).await;
    let limit = |max_running| QueueCommand::Limit { handler: "echo".into(), max_running };
    stack.engine.control(caller(), limit(Some(2))).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(stack.submit(job(&["echo", "echo"])).await.unwrap().job);
    }
    for id in ids {
        assert_eq!(stack.ended(id).await.phase, Phase::Completed);
    }
    assert!(most_at_once(&stack.log().await) <= 2);
    stack.stop().await;
}

/// Controls hold in processes that never heard the command.
#[tokio::test]
async fn a_limit_and_a_pause_hold_over_all_processes() {
    let ground = Ground::postgres();
    let (first, second) = (Stack::start(&ground, echo(8)).await, Stack::start(&ground, echo(8)).await);
    let limit = QueueCommand::Limit { handler: "echo".into(), max_running: Some(3) };
    first.engine.control(caller(), limit).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..30 {
        for stack in [&first, &second] {
            ids.push(stack.submit(job(&["echo", "echo"])).await.unwrap().job);
        }
    }
    for id in ids {
        assert_eq!(first.ended(id).await.phase, Phase::Completed);
    }
    assert!(most_at_once(&first.log().await) <= 3);

    first.engine.control(caller(), pause()).await.unwrap();
    let waiting = second.submit(job(&["echo"])).await.unwrap().job;
    assert_eq!(second.kinds(waiting).await, ["JobSubmitted"]);
    second.engine.control(caller(), resume()).await.unwrap();
    tokio::time::timeout(PATIENCE, first.ended(waiting)).await.unwrap();
    first.stop().await;
    second.stop().await;
}

/// A stage that runs in one process ends when another is told to cancel its job.
#[tokio::test]
async fn a_cancel_reaches_the_process_that_runs_the_stage() {
    let ground = Ground::postgres();
    let hanging = || Handlers::default().with("hangs", 1, |_| Deed::Hang);
    let worker = Stack::start(&ground, hanging()).await;
    let client = Stack::start(&ground, Handlers::default()).await;
    let id = client.submit(job(&["hangs"])).await.unwrap().job;
    worker.job_when(id, runs).await;
    let second = client.submit(job(&["hangs"])).await.unwrap().job;
    client.engine.cancel(caller(), id, None).await.unwrap();
    // Its slot is free again.
    worker.job_when(second, runs).await;
    client.engine.cancel(caller(), second, None).await.unwrap();
    tokio::time::timeout(PATIENCE, worker.engine.drain()).await.unwrap();
    client.stop().await;
    worker.stop().await;
}
