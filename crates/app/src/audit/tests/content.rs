//! What readers did with articles is audited like everything else.

use std::sync::Arc;

use quillwork_domain::content::{ContentEvent, ContentRated, ContentViewed};
use quillwork_domain::id::JobId;
use quillwork_domain::job::{Command, Event, JobCancelled};
use quillwork_domain::payload::Sha256Digest;
use uuid::Uuid;

use super::memory::{Memory, complete, payload, start_of, submission};
use crate::audit::{ExportStart, Report, Rule, Scope, derive_queue, verify_export, verify_store};

async fn verify(log: &Memory) -> Report {
    verify_store(log, Scope::Everything, |_, _| {}).await.unwrap()
}

fn article(n: u128) -> JobId {
    JobId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n))
}

fn viewed(count: u64) -> Event {
    Event::Content(ContentEvent::Viewed(ContentViewed { count }))
}

fn rated(key: &str) -> Event {
    Event::Content(ContentEvent::Rated(ContentRated {
        stars: 4.try_into().unwrap(),
        rater: None,
        idempotency_key: Some(key.into()),
        request_digest: Some(Sha256Digest::of(b"body")),
    }))
}

/// Job 1 is completed, job 2 waits.
fn history() -> Memory {
    let mut log = Memory::default();
    for n in [1, 2] {
        log.apply(article(n), |_| Command::Submit(submission(None)));
    }
    for stage in 0..2 {
        log.apply(article(1), start_of(stage));
        log.apply(article(1), complete(stage, 1, payload("1")));
    }
    log
}

#[tokio::test]
async fn what_readers_may_do_is_in_order() {
    let mut log = history();
    log.note(article(1), 1, &viewed(3));
    log.note(article(1), 2, &rated("k"));
    log.note(article(1), 3, &viewed(1));
    // Of a job that left the log, or began before it.
    log.note(article(9), 1, &viewed(1));
    let report = verify(&log).await;
    assert!(report.ok, "{report:#?}");
    assert_eq!((report.jobs, report.events), (2, log.events.len() as u64));
    assert!(verify_export(&log.export()[..], ExportStart::default()).unwrap().ok);
    let derived = derive_queue(Arc::new(log.clone())).await.unwrap();
    assert_eq!(derived.keys.len(), 1);
    assert_eq!((derived.keys[0].0.key.as_str(), derived.keys[0].1.job), ("k", article(1)));
}

#[tokio::test]
async fn what_readers_cannot_have_done_is_named() {
    let cancelled = Event::JobCancelled(JobCancelled { reason: None });
    let cases = [
        (1, vec![(2, viewed(1))], Rule::Version, "expected version 1"),
        (1, vec![(1, viewed(1)), (1, viewed(1))], Rule::Version, "expected version 2"),
        (1, vec![(1, viewed(0))], Rule::Content, "no views"),
        (1, vec![(1, cancelled)], Rule::Content, "JobCancelled in the stream of an article"),
        (1, vec![(1, rated("k")), (2, rated("k"))], Rule::Keys, "taken before"),
        (2, vec![(1, viewed(1))], Rule::Content, "has not completed"),
    ];
    for (n, events, rule, said) in cases {
        let mut log = history();
        for (version, event) in &events {
            log.note(article(n), *version, event);
        }
        let report = verify(&log).await;
        let found =
            report.findings.iter().any(|finding| finding.rule == rule && finding.message.contains(said));
        assert!(found && !report.ok, "{said}: {report:#?}");
    }
    let mut log = history();
    log.append(article(1), &viewed(1));
    let report = verify(&log).await;
    assert!(!report.ok, "{report:#?}");
}
