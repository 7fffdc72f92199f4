//! The read models say what the log says.

use std::collections::BTreeMap;

use quillwork_domain::id::JobId;
use serde_json::Value;

use super::story::{Status, Stories};

/// A job as the read model has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub job: JobId,
    pub status: String,
    pub version: u64,
    /// Stages with a result.
    pub done: u64,
}

impl Row {
    /// Of a job as the API returns it.
    pub fn of(job: &Value) -> Self {
        Self {
            job: job["id"].as_str().and_then(|id| id.parse().ok()).expect("a job has an id"),
            status: job["status"].as_str().expect("a job has a status").to_owned(),
            version: job["version"].as_u64().expect("a job has a version"),
            done: job["progress"]["done"].as_u64().expect("a job has progress"),
        }
    }
}

/// The counters of `/v1/stats` as a flat map.
pub fn flat(stats: &Value) -> BTreeMap<String, u64> {
    let mut flat = BTreeMap::new();
    let mut put = |name: String, value: &Value| {
        if let Some(number) = value.as_u64() {
            flat.insert(name, number);
        }
    };
    put("position".to_owned(), &stats["position"]);
    for (status, n) in stats["jobs"].as_object().into_iter().flatten() {
        put(format!("jobs.{status}"), n);
    }
    for (stage, counters) in stats["stages"].as_object().into_iter().flatten() {
        for (kind, n) in counters.as_object().into_iter().flatten() {
            put(format!("stages.{stage}.{kind}"), n);
        }
    }
    flat
}

pub(super) fn check(
    rows: &[Row],
    stats: &BTreeMap<String, u64>,
    stories: &Stories,
    n_events: usize,
) -> Vec<String> {
    let mut findings = Vec::new();
    let mut by_job: BTreeMap<JobId, &Row> = BTreeMap::new();
    for row in rows {
        if by_job.insert(row.job, row).is_some() {
            findings.push(format!("the read model has job {} twice", row.job));
        }
        if !stories.jobs.contains_key(&row.job) {
            findings.push(format!("the read model has job {}, which is not in the log", row.job));
        }
    }
    for (job, story) in &stories.jobs {
        let expected = Row {
            job: *job,
            status: story.status.to_string(),
            version: story.version,
            done: story.done() as u64,
        };
        match by_job.get(job) {
            None => findings.push(format!("the read model lacks job {job}")),
            Some(row) if **row != expected => {
                findings.push(format!("the read model has {row:?}, the log says {expected:?}"));
            }
            Some(_) => {}
        }
    }

    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    expected.insert("position".to_owned(), n_events as u64);
    expected.insert("jobs.submitted".to_owned(), stories.jobs.len() as u64);
    for status in Status::ALL {
        let n = stories.jobs.values().filter(|story| story.status == status).count();
        expected.insert(format!("jobs.{status}"), n as u64);
    }
    for (stage, counters) in &stories.stages {
        for (kind, n) in ["started", "completed", "failed", "retried"].into_iter().zip(counters) {
            expected.insert(format!("stages.{stage}.{kind}"), *n);
        }
    }
    for (counter, expected) in expected {
        let found = stats.get(&counter).copied();
        if found != Some(expected) {
            let found = found.map_or("nothing".to_owned(), |found| found.to_string());
            findings.push(format!("the counter {counter} is {found}, the log says {expected}"));
        }
    }
    findings
}
