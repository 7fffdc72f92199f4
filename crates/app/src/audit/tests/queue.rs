//! The log is read ahead.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::Position;
use tokio::sync::mpsc;

use super::memory::{Memory, valid};
use crate::audit::queue::{PAGES_READING, read_ahead};

async fn positions(log: &Memory, limit: usize) -> Vec<Position> {
    let (pages, mut read) = mpsc::channel(1);
    let reading = tokio::spawn(read_ahead(Arc::new(log.clone()), limit, pages));
    let mut positions = Vec::new();
    while let Some(page) = read.recv().await {
        positions.extend(page.iter().map(|event| event.position));
    }
    reading.await.unwrap().unwrap();
    positions
}

#[tokio::test]
async fn every_event_comes_once_whatever_is_missing_and_however_few_come_at_a_time() {
    let kept: [fn(&Recorded) -> bool; 5] = [
        |_| true,
        |event| event.position.0 > 20,
        |event| event.position.0 <= 5 || event.position.0 > 25,
        |event| event.position.0 % 7 == 0,
        |_| false,
    ];
    for kept in kept {
        for most in [None, Some(1), Some(4)] {
            let mut log = valid();
            log.most = most;
            log.events.retain(kept);
            let all: Vec<_> = log.events.iter().map(|event| event.position).collect();
            for limit in [1, 2, 3, 10, 1_000] {
                assert_eq!(positions(&log, limit).await, all, "{limit} at a time, at most {most:?}");
            }
        }
    }
}

#[tokio::test]
async fn where_most_events_are_missing_hardly_a_page_is_read_in_vain() {
    let mut log = valid();
    log.events.retain(|event| event.position.0 % 7 == 0);
    let n_events = positions(&log, 1).await.len();
    let n_reads = log.n_reads.load(Ordering::Relaxed);
    // The guesses of the beginning, one read for each event, and one that finds the end.
    assert!(n_events > 1 && n_reads <= PAGES_READING + n_events + 1, "{n_reads} reads for {n_events} events");
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error() {
    let mut log = valid();
    log.corrupt = vec![7];
    let (pages, mut read) = mpsc::channel(1);
    let reading = tokio::spawn(read_ahead(Arc::new(log), 2, pages));
    let mut n_read = 0;
    while let Some(page) = read.recv().await {
        n_read += page.len();
    }
    assert_eq!(n_read, 6);
    reading.await.unwrap().unwrap_err();
}
