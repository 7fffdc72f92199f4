//! Waiting tasks, leases and orphans.

use quillwork_app::ports::store::{LeaseToken, Task, TaskKey};
use quillwork_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::sqlite::rows::{self, TASK_COLUMNS};

/// Ends every lease. Whoever owns the data directory knows that all earlier holders are gone.
pub(super) fn end_leases(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE leases SET expires_at = 0 WHERE expires_at <> 0", []).map(drop)
}

pub(super) fn open_lease(conn: &Connection, worker: &str, until: Timestamp) -> rusqlite::Result<LeaseToken> {
    conn.query_row(
        "INSERT INTO leases (worker, expires_at) VALUES (?1, ?2) RETURNING token",
        params![worker, until.as_millis()],
        |row| row.get(0).map(LeaseToken),
    )
}

pub(super) fn renew_lease(conn: &Connection, lease: LeaseToken, until: Timestamp) -> rusqlite::Result<bool> {
    let renewed = conn.execute(
        "UPDATE leases SET expires_at = ?2 WHERE token = ?1 AND expires_at <> 0",
        params![lease.0, until.as_millis()],
    )?;
    Ok(renewed == 1)
}

pub(super) fn orphans(
    conn: &Connection,
    mine: LeaseToken,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<(TaskKey, LeaseToken)>> {
    let dead = conn
        .prepare_cached("SELECT 1 FROM leases WHERE expires_at < ?1 AND token <> ?2 LIMIT 1")?
        .query_row([now.as_millis(), mine.0], |_| Ok(()))
        .optional()?;
    if dead.is_none() {
        return Ok(Vec::new());
    }
    // Ended for good: from here on its holder cannot renew it.
    conn.execute(
        "UPDATE leases SET expires_at = 0 WHERE expires_at < ?1 AND token <> ?2",
        [now.as_millis(), mine.0],
    )?;
    let orphans: Vec<(TaskKey, LeaseToken)> = conn
        .prepare(
            "SELECT stream, stage, lease FROM tasks
             WHERE lease IN (SELECT token FROM leases WHERE expires_at = 0) LIMIT ?1",
        )?
        .query_map([rows_limit(limit)], |row| Ok((rows::key(row)?, LeaseToken(row.get(2)?))))?
        .collect::<rusqlite::Result<_>>()?;
    if orphans.is_empty() {
        conn.execute("DELETE FROM leases WHERE expires_at = 0", [])?;
    }
    Ok(orphans)
}

pub(super) fn held(conn: &Connection, lease: LeaseToken) -> rusqlite::Result<Vec<TaskKey>> {
    conn.prepare("SELECT stream, stage FROM tasks WHERE lease = ?1")?
        .query_map([lease.0], rows::key)?
        .collect()
}

/// The index orders by priority before time, so each priority is a range of its own: tasks of the future are never
/// walked over, however many there are.
pub(super) fn ready(
    conn: &Connection,
    handler: &str,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<Task>> {
    let mut select = conn.prepare_cached(&format!(
        "SELECT {TASK_COLUMNS} FROM tasks INDEXED BY tasks_waiting
         WHERE lease IS NULL AND handler = ?1 AND priority = ?2 AND run_at <= ?3
         ORDER BY run_at, stream, stage LIMIT ?4"
    ))?;
    let mut tasks: Vec<Task> = Vec::new();
    for priority in priorities(conn, handler)? {
        let room = rows_limit(limit.saturating_sub(tasks.len()));
        if room == 0 {
            break;
        }
        let found = select.query_map(params![handler, priority, now.as_millis(), room], rows::task)?;
        for task in found {
            tasks.push(task?.0);
        }
    }
    Ok(tasks)
}

pub(super) fn next_due(conn: &Connection, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    let mut select = conn.prepare_cached(
        "SELECT run_at FROM tasks INDEXED BY tasks_waiting
         WHERE lease IS NULL AND handler = ?1 AND priority = ?2 AND run_at > ?3 ORDER BY run_at LIMIT 1",
    )?;
    let mut due: Option<i64> = None;
    for handler in waiting_handlers(conn)? {
        for priority in priorities(conn, &handler)? {
            let first: Option<i64> =
                select.query_row(params![handler, priority, now.as_millis()], |row| row.get(0)).optional()?;
            due = due.into_iter().chain(first).min();
        }
    }
    Ok(due.map(Timestamp::from_millis))
}

/// The priorities of a handler's waiting tasks, highest first, by hopping through the index.
fn priorities(conn: &Connection, handler: &str) -> rusqlite::Result<Vec<i64>> {
    let mut hop = conn.prepare_cached(
        "SELECT priority FROM tasks INDEXED BY tasks_waiting
         WHERE lease IS NULL AND handler = ?1 AND priority < ?2 ORDER BY priority DESC LIMIT 1",
    )?;
    let mut found = Vec::new();
    let mut below = i64::MAX;
    while let Some(priority) = hop.query_row(params![handler, below], |row| row.get(0)).optional()? {
        found.push(priority);
        below = priority;
    }
    Ok(found)
}

/// The handlers of waiting tasks, by hopping through the index.
fn waiting_handlers(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut hop = conn.prepare_cached(
        "SELECT handler FROM tasks INDEXED BY tasks_waiting
         WHERE lease IS NULL AND handler > ?1 ORDER BY handler LIMIT 1",
    )?;
    let mut found: Vec<String> = Vec::new();
    let mut after = String::new();
    while let Some(handler) = hop.query_row([&after], |row| row.get::<_, String>(0)).optional()? {
        found.push(handler.clone());
        after = handler;
    }
    Ok(found)
}

/// SQLite counts rows in 64 bits with a sign.
pub(super) fn rows_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
