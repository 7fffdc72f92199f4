//! What a fleet leaves behind: the log from the database, the read models through the API.

use std::sync::Arc;

use quillwork_app::ports::store::LogReader;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::Position;
use quillwork_domain::time::Timestamp;
use quillwork_store::postgres;
use serde_json::Value;

use crate::invariants::{Acknowledged, Evidence, Row, flat};
use crate::stack::postgres_config;

/// Opens the log of a database to be read.
pub async fn open_log(store: &str) -> Arc<dyn LogReader> {
    postgres::open(&postgres_config(store), false).await.unwrap().reader
}

/// The whole log.
pub async fn read_log(reader: &dyn LogReader) -> Vec<Recorded> {
    let mut log: Vec<Recorded> = Vec::new();
    loop {
        let after = log.last().map_or(Position::START, |event| event.position);
        let page = reader.read_all(after, 10_000).await.unwrap();
        if page.is_empty() {
            return log;
        }
        log.extend(page);
    }
}

/// Everything that the invariants are checked against, of a fleet that has come to rest.
pub async fn evidence(
    reader: &dyn LogReader,
    api: &str,
    acknowledged: Vec<Acknowledged>,
    between: (Timestamp, Timestamp),
) -> Evidence {
    let log = read_log(reader).await;
    let tasks = reader.tasks(None, 10_000).await.unwrap();
    let queue = tasks.iter().map(|(task, lease)| format!("{:?}, held by {lease:?}", task.key)).collect();
    let stats = flat(&get(&format!("{api}/v1/stats")).await);
    Evidence { acknowledged, log, between, queue, rows: rows(api).await, stats }
}

async fn rows(api: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(&format!("{api}/v1/jobs?limit=500{cursor}")).await;
        rows.extend(page["items"].as_array().unwrap().iter().map(Row::of));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

async fn get(url: &str) -> Value {
    let answer = reqwest::get(url).await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(status, 200, "{url}: {body}");
    body
}
