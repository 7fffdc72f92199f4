//! Waiting tasks, leases and orphans.

use std::sync::Arc;

use quillwork_app::ports::store::{Claim, LeaseToken, Task, TaskKey};
use quillwork_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::sqlite::rows::{self, TASK_COLUMNS};
use crate::turns::{Line, next_share, share, take_turns, unfinished};

/// Ends every lease. Whoever owns the data directory knows that all earlier holders are gone.
pub(super) fn end_leases(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM leases", []).map(drop)
}

pub(super) fn open_lease(conn: &Connection, worker: &str, until: Timestamp) -> rusqlite::Result<LeaseToken> {
    conn.query_row(
        "INSERT INTO leases (worker, expires_at) VALUES (?1, ?2) RETURNING token",
        params![worker, until.as_millis()],
        |row| row.get(0).map(LeaseToken),
    )
}

pub(super) fn renew_lease(conn: &Connection, lease: LeaseToken, until: Timestamp) -> rusqlite::Result<bool> {
    let renewed = conn
        .execute("UPDATE leases SET expires_at = ?2 WHERE token = ?1", params![lease.0, until.as_millis()])?;
    Ok(renewed == 1)
}

pub(super) fn close_lease(conn: &Connection, lease: LeaseToken) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM leases WHERE token = ?1", [lease.0]).map(drop)
}

pub(super) fn orphans(
    conn: &Connection,
    mine: LeaseToken,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<(TaskKey, LeaseToken)>> {
    let expired = conn
        .prepare_cached("SELECT 1 FROM leases WHERE expires_at < ?1 AND token <> ?2 LIMIT 1")?
        .query_row([now.as_millis(), mine.0], |_| Ok(()))
        .optional()?;
    if expired.is_some() {
        // Ended for good: from here on its holder cannot renew it.
        conn.execute("DELETE FROM leases WHERE expires_at < ?1 AND token <> ?2", [now.as_millis(), mine.0])?;
    }
    conn.prepare_cached(
        "SELECT stream, stage, lease FROM tasks INDEXED BY tasks_held
         WHERE lease IS NOT NULL AND lease NOT IN (SELECT token FROM leases) LIMIT ?1",
    )?
    .query_map([rows_limit(limit)], |row| Ok((rows::key(row)?, LeaseToken(row.get(2)?))))?
    .collect()
}

pub(super) fn held(conn: &Connection, lease: LeaseToken) -> rusqlite::Result<Vec<TaskKey>> {
    conn.prepare_cached("SELECT stream, stage FROM tasks INDEXED BY tasks_held WHERE lease = ?1")?
        .query_map([lease.0], rows::key)?
        .collect()
}

pub(super) fn held_by_handler(conn: &Connection, handlers: &[Arc<str>]) -> rusqlite::Result<Vec<u64>> {
    let mut count = conn.prepare_cached(
        "SELECT count(*) FROM tasks INDEXED BY tasks_held WHERE lease IS NOT NULL AND handler = ?1",
    )?;
    handlers.iter().map(|handler| count.query_row([&**handler], |row| row.get(0))).collect()
}

/// See [`quillwork_app::ports::store::LogWriter::ready`].
pub(super) fn ready(conn: &Connection, claim: &Claim, now: Timestamp) -> rusqlite::Result<Vec<Task>> {
    let handler = &*claim.handler;
    let tenants = due_tenants(conn, claim, now)?;
    let asked = share(claim.limit, tenants.len());
    let line = |tenant: &String| Ok(Line { tasks: due(conn, handler, tenant, now, asked)?, asked });
    let mut lines: Vec<Line> = tenants.iter().map(line).collect::<rusqlite::Result<_>>()?;
    while let Some(asked) = next_share(&lines, claim.limit) {
        for (index, line) in unfinished(&mut lines) {
            *line = Line { tasks: due(conn, handler, &tenants[index], now, asked)?, asked };
        }
    }
    Ok(take_turns(lines, claim.limit))
}

/// The tenants that have due tasks, in turn, up to the limit of the claim: from tenant to tenant by hopping through the
/// index, so that nobody's tasks are walked over. If nothing is due, nobody is visited.
fn due_tenants(conn: &Connection, claim: &Claim, now: Timestamp) -> rusqlite::Result<Vec<String>> {
    let (handler, last) = (&*claim.handler, &*claim.after);
    let anything: Option<i64> = conn
        .prepare_cached(
            "SELECT run_at FROM tasks INDEXED BY tasks_due
             WHERE lease IS NULL AND handler = ?1 AND run_at <= ?2 ORDER BY run_at LIMIT 1",
        )?
        .query_row(params![handler, now.as_millis()], |row| row.get(0))
        .optional()?;
    let mut found = Vec::new();
    if anything.is_none() {
        return Ok(found);
    }
    let mut hop = conn.prepare_cached(
        "SELECT tenant FROM tasks INDEXED BY tasks_waiting
         WHERE lease IS NULL AND handler = ?1 AND tenant > ?2 ORDER BY tenant LIMIT 1",
    )?;
    // Once from the tenant that had the last turn to the end, and once from the beginning to him.
    for (start, wrapped) in [(last, false), ("", true)] {
        let mut at = start.to_owned();
        while found.len() < claim.limit
            && let Some(tenant) = hop.query_row([handler, &at], |row| row.get::<_, String>(0)).optional()?
            && !(wrapped && *tenant > *last)
        {
            if !due(conn, handler, &tenant, now, 1)?.is_empty() {
                found.push(tenant.clone());
            }
            at = tenant;
        }
    }
    Ok(found)
}

/// The due tasks of one tenant. The index orders by priority before time, so each priority is a range of its own: tasks of
/// the future are never walked over, however many there are.
fn due(
    conn: &Connection,
    handler: &str,
    tenant: &str,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<Task>> {
    let mut select = conn.prepare_cached(&format!(
        "SELECT {TASK_COLUMNS} FROM tasks INDEXED BY tasks_waiting
         WHERE lease IS NULL AND handler = ?1 AND tenant = ?2 AND priority = ?3 AND run_at <= ?4
         ORDER BY run_at, stream, stage LIMIT ?5"
    ))?;
    let mut hop = conn.prepare_cached(
        "SELECT priority FROM tasks INDEXED BY tasks_waiting
         WHERE lease IS NULL AND handler = ?1 AND tenant = ?2 AND priority < ?3 ORDER BY priority DESC LIMIT 1",
    )?;
    let mut tasks: Vec<Task> = Vec::new();
    let mut below = i64::MAX;
    while tasks.len() < limit
        && let Some(priority) = hop.query_row(params![handler, tenant, below], |row| row.get(0)).optional()?
    {
        let room = rows_limit(limit - tasks.len());
        let found =
            select.query_map(params![handler, tenant, priority, now.as_millis(), room], rows::task)?;
        for task in found {
            tasks.push(task?.0);
        }
        below = priority;
    }
    Ok(tasks)
}

pub(super) fn next_due(
    conn: &Connection,
    handlers: &[Arc<str>],
    now: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut select = conn.prepare_cached(
        "SELECT run_at FROM tasks INDEXED BY tasks_due
         WHERE lease IS NULL AND handler = ?1 AND run_at > ?2 ORDER BY run_at LIMIT 1",
    )?;
    let mut due: Option<i64> = None;
    for handler in handlers {
        let first: Option<i64> =
            select.query_row(params![&**handler, now.as_millis()], |row| row.get(0)).optional()?;
        due = due.into_iter().chain(first).min();
    }
    Ok(due.map(Timestamp::from_millis))
}

/// SQLite counts rows in 64 bits with a sign.
pub(super) fn rows_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
