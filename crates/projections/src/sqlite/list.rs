//! Lists of jobs.

use quillwork_domain::job::Status;
use quillwork_domain::time::Timestamp;
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::{JOB_COLUMNS, Readers, summary};
use crate::job_row::status_code;
use crate::job_summary::{JobFilter, JobSummary};
use crate::read_models::ReadModelError;

/// Up to `limit` jobs whose stored status is one of the filter's, newest first. With `due`, only those scheduled jobs
/// whose time has come by then (`Ok`), or has not (`Err`).
pub(crate) async fn jobs(
    readers: &Readers,
    filter: &JobFilter,
    due: Option<Result<Timestamp, Timestamp>>,
    limit: usize,
) -> Result<Vec<JobSummary>, ReadModelError> {
    let (sql, values) = statement(filter, due, limit);
    readers
        .read_long(move |connection| {
            let mut select = connection.prepare_cached(&sql)?;
            let rows = select.query_and_then(params_from_iter(values), summary)?;
            rows.collect()
        })
        .await
}

/// SQLite keeps no statistics here, and `+` hides a column from its planner: every query walks the rows of one index (or
/// the table) in the order of the list, so that it may stop at the limit. The label is the most selective, then any status
/// but completed, which most jobs have in the end.
fn statement(
    filter: &JobFilter,
    due: Option<Result<Timestamp, Timestamp>>,
    limit: usize,
) -> (String, Vec<Value>) {
    let JobFilter { status, pipeline, tenant, label, search, before } = filter;
    let narrowed = pipeline.is_some() || tenant.is_some() || search.is_some();
    let by_label = label.is_some();
    let by_status = !by_label && status.is_some_and(|status| status != Status::Completed || !narrowed);
    let by_pipeline = !by_label && !by_status && search.is_none();
    // In a file most jobs are of one tenant.
    let by_tenant = by_pipeline && pipeline.is_none();

    let (from, order) = if by_label {
        // A cross join is run from left to right.
        let from = "job_label CROSS JOIN job_summary
                    WHERE job_summary.submitted_position = job_label.submitted_position";
        (from, "job_label.submitted_position")
    } else {
        ("job_summary WHERE true", "job_summary.submitted_position")
    };
    let mut sql = format!("SELECT {JOB_COLUMNS} FROM {from}");
    let mut values: Vec<Value> = Vec::new();
    let mut push = |text: &str, value: Value| {
        sql.push_str(text);
        values.push(value);
    };
    if let Some(label) = label {
        push(" AND job_label.label = ?", label.clone().into());
    }
    if let Some(status) = status {
        push(if by_status { " AND status = ?" } else { " AND +status = ?" }, status_code(*status).into());
    }
    if let Some(pipeline) = pipeline {
        push(if by_pipeline { " AND pipeline = ?" } else { " AND +pipeline = ?" }, pipeline.clone().into());
    }
    if let Some(tenant) = tenant {
        push(if by_tenant { " AND tenant = ?" } else { " AND +tenant = ?" }, tenant.clone().into());
    }
    match due {
        Some(Ok(now)) => push(" AND +due_at <= ?", now.as_millis().into()),
        Some(Err(now)) => push(" AND +due_at > ?", now.as_millis().into()),
        None => {}
    }
    if let Some(search) = search {
        push(" AND instr(coalesce(search, lower(topic)), ?) > 0", search.to_lowercase().into());
    }
    if let Some(before) = before {
        push(&format!(" AND {order} < ?"), i64::try_from(before.0).unwrap_or(i64::MAX).into());
    }
    push(&format!(" ORDER BY {order} DESC LIMIT ?"), i64::try_from(limit).unwrap_or(i64::MAX).into());
    (sql, values)
}
