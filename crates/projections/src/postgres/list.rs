//! Lists of jobs.
//!
//! Every list walks index entries in its own order and stops at its limit. Status, pipeline and tenant, in any
//! combination, have an index; so has a label alone. What no index serves (a search, or a label together with more) is
//! looked for among a bounded number of candidates, and the page says how far it looked.

use quillwork_domain::id::Position;
use quillwork_domain::job::Status;
use quillwork_domain::time::Timestamp;
use sqlx::{Postgres, QueryBuilder, Row};

use super::query::{JOB_COLUMNS, summary};
use super::{Database, from_i64, text, to_i64, to_the_end};
use crate::backend::Found;
use crate::job_row::status_code;
use crate::job_summary::JobFilter;
use crate::read_models::ReadModelError;

/// Candidates that one page looks at, at most.
const CANDIDATES: usize = 10_000;

/// What is known of the tables may be old or missing, and a list must never read them from end to end.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL jit = off";

/// In the place of [`JOB_COLUMNS`].
const NO_JOB: &str = "NULL, NULL, NULL, NULL, NULL, NULL";

type Due = Option<Result<Timestamp, Timestamp>>;

/// Up to `limit` jobs whose stored status is one of the filter's, newest first. With `due`, only those scheduled jobs
/// whose time has come by then (`Ok`), or has not (`Err`).
pub(crate) async fn jobs(
    database: &Database,
    filter: &JobFilter,
    due: Due,
    limit: usize,
) -> Result<Found, ReadModelError> {
    let (database, filter) = (database.clone(), filter.clone());
    let rows = to_the_end(async move {
        let mut sql = QueryBuilder::new("");
        push(&mut sql, database.schema(), &filter, due, limit);
        let mut tx = database.pool().begin_with(BEGIN).await?;
        // Not prepared: which index is best depends on the values.
        let rows = sql.build().persistent(false).fetch_all(&mut *tx).await?;
        tx.commit().await?;
        Ok(rows)
    })
    .await?;

    let mut found = Found { items: Vec::with_capacity(rows.len()), looked_to: None };
    for row in &rows {
        if row.try_get::<Option<&str>, _>("details")?.is_some() {
            found.items.push(summary(row)?);
        } else {
            found.looked_to = Some(Position(from_i64(row.try_get("submitted_position")?)));
        }
    }
    if found.items.len() >= limit {
        // There may be more before the last item, which is nearer than the last candidate.
        found.looked_to = None;
    }
    Ok(found)
}

/// Adds the statement to `sql`. Its rows are the jobs and, if candidates were looked through and there are more of
/// them, the position of the last one and nothing else.
pub(crate) fn push(
    sql: &mut QueryBuilder<Postgres>,
    schema: &str,
    filter: &JobFilter,
    due: Due,
    limit: usize,
) {
    let JobFilter { status, pipeline, tenant, label, search, before: _ } = filter;
    let narrowed = status.is_some() || pipeline.is_some() || tenant.is_some() || search.is_some();
    match (label, search) {
        (Some(label), _) if narrowed => {
            // `OFFSET 0` keeps the planner from reading the whole table for the join.
            sql.push(format!("(SELECT c.submitted_position, {JOB_COLUMNS} FROM ("));
            push_labelled(sql, schema, label, filter);
            sql.push(" LIMIT ").push_bind(to_i64(CANDIDATES as u64));
            sql.push(format!(
                ") AS c CROSS JOIN LATERAL (SELECT {JOB_COLUMNS}, due_at, search
                 FROM {schema}.job_summary WHERE submitted_position = c.submitted_position OFFSET 0) AS j WHERE true"
            ));
            push_equal(sql, *status, filter);
            push_due(sql, due);
            push_search(sql, filter);
            push_limit(sql, "c.submitted_position", limit);
            sql.push(format!(") UNION ALL (SELECT submitted_position, {NO_JOB} FROM ("));
            push_labelled(sql, schema, label, filter);
            push_last_candidate(sql);
        }
        (Some(label), _) => {
            sql.push(format!("SELECT c.submitted_position, {JOB_COLUMNS} FROM ("));
            push_labelled(sql, schema, label, filter);
            sql.push(" LIMIT ").push_bind(to_i64(limit as u64));
            sql.push(format!(
                ") AS c CROSS JOIN LATERAL (SELECT {JOB_COLUMNS} FROM {schema}.job_summary
                 WHERE submitted_position = c.submitted_position OFFSET 0) AS j ORDER BY c.submitted_position DESC"
            ));
        }
        (None, Some(_)) => {
            sql.push(format!("(SELECT submitted_position, {JOB_COLUMNS} FROM ("));
            let columns = format!("submitted_position, search, {JOB_COLUMNS}");
            push_indexed(sql, schema, &columns, filter, due, CANDIDATES);
            sql.push(") AS c WHERE true");
            push_search(sql, filter);
            push_limit(sql, "submitted_position", limit);
            sql.push(format!(") UNION ALL (SELECT submitted_position, {NO_JOB} FROM ("));
            push_indexed(sql, schema, "submitted_position", filter, due, CANDIDATES);
            push_last_candidate(sql);
        }
        (None, None) => {
            let columns = format!("submitted_position, {JOB_COLUMNS}");
            push_indexed(sql, schema, &columns, filter, due, limit);
        }
    }
}

/// The newest `limit` jobs with the filter's status, pipeline and tenant.
fn push_indexed(
    sql: &mut QueryBuilder<Postgres>,
    schema: &str,
    columns: &str,
    filter: &JobFilter,
    due: Due,
    limit: usize,
) {
    let statuses: Vec<Option<Status>> = match filter.status {
        Some(status) => vec![Some(status)],
        None if filter.pipeline.is_none() && filter.tenant.is_none() => vec![None],
        // The indexes begin with them and have the status before the position: one walk for each status.
        None => Status::ALL.into_iter().map(Some).collect(),
    };
    if let [status] = statuses.as_slice() {
        push_walk(sql, schema, columns, (*status, filter), due, limit);
        return;
    }
    sql.push("SELECT * FROM (");
    for (index, status) in statuses.into_iter().enumerate() {
        sql.push(if index == 0 { "(" } else { ") UNION ALL (" });
        push_walk(sql, schema, columns, (status, filter), due, limit);
    }
    sql.push(")) AS u");
    push_limit(sql, "submitted_position", limit);
}

fn push_walk(
    sql: &mut QueryBuilder<Postgres>,
    schema: &str,
    columns: &str,
    (status, filter): (Option<Status>, &JobFilter),
    due: Due,
    limit: usize,
) {
    sql.push(format!("SELECT {columns} FROM {schema}.job_summary WHERE true"));
    push_equal(sql, status, filter);
    push_due(sql, due);
    push_before(sql, filter);
    push_limit(sql, "submitted_position", limit);
}

/// The jobs with a label, newest first, without a limit.
fn push_labelled(sql: &mut QueryBuilder<Postgres>, schema: &str, label: &str, filter: &JobFilter) {
    sql.push(format!("SELECT submitted_position FROM {schema}.job_label WHERE label = "));
    sql.push_bind(text(label).into_owned());
    push_before(sql, filter);
    sql.push(" ORDER BY submitted_position DESC");
}

fn push_equal(sql: &mut QueryBuilder<Postgres>, status: Option<Status>, filter: &JobFilter) {
    if let Some(status) = status {
        sql.push(" AND status = ").push_bind(status_code(status));
    }
    for (column, value) in [(" AND pipeline = ", &filter.pipeline), (" AND tenant = ", &filter.tenant)] {
        if let Some(value) = value {
            sql.push(column).push_bind(text(value).into_owned());
        }
    }
}

fn push_due(sql: &mut QueryBuilder<Postgres>, due: Due) {
    match due {
        Some(Ok(now)) => sql.push(" AND due_at <= ").push_bind(now.as_millis()),
        Some(Err(now)) => sql.push(" AND due_at > ").push_bind(now.as_millis()),
        None => sql,
    };
}

fn push_search(sql: &mut QueryBuilder<Postgres>, filter: &JobFilter) {
    if let Some(search) = &filter.search {
        let wanted = text(&search.to_lowercase()).into_owned();
        sql.push(" AND strpos(coalesce(search, lower(topic COLLATE \"C\")), ")
            .push_bind(wanted)
            .push(") > 0");
    }
}

fn push_before(sql: &mut QueryBuilder<Postgres>, filter: &JobFilter) {
    if let Some(before) = filter.before {
        sql.push(" AND submitted_position < ").push_bind(to_i64(before.0));
    }
}

fn push_limit(sql: &mut QueryBuilder<Postgres>, order: &str, limit: usize) {
    sql.push(format!(" ORDER BY {order} DESC LIMIT ")).push_bind(to_i64(limit as u64));
}

/// Ends a query for candidates so that only the last one is left, if there are as many as are looked at.
fn push_last_candidate(sql: &mut QueryBuilder<Postgres>) {
    sql.push(") AS c ORDER BY submitted_position DESC OFFSET ").push_bind(to_i64(CANDIDATES as u64 - 1));
    sql.push(" LIMIT 1)");
}
