//! Waiting tasks and leases.

use std::collections::HashSet;
use std::sync::Arc;

use quillwork_app::ports::store::{Claim, LeaseToken, Task};
use quillwork_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::sqlite::rows::{self, TASK_COLUMNS};
use crate::turns::{Line, next_share, share, take_turns, unfinished};

/// Delayed tasks that enter the line at once: a few milliseconds of work, and more than slots can take.
const CALLED_UP: i64 = 4_096;

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

/// The leases that are still alive, after those that ran out were ended for good: their holders cannot renew them.
pub(super) fn end_expired(
    conn: &Connection,
    mine: LeaseToken,
    now: Timestamp,
) -> rusqlite::Result<HashSet<LeaseToken>> {
    let expired = conn
        .prepare_cached("SELECT 1 FROM leases WHERE expires_at < ?1 AND token <> ?2 LIMIT 1")?
        .query_row([now.as_millis(), mine.0], |_| Ok(()))
        .optional()?;
    if expired.is_some() {
        conn.execute("DELETE FROM leases WHERE expires_at < ?1 AND token <> ?2", [now.as_millis(), mine.0])?;
    }
    conn.prepare_cached("SELECT token FROM leases")?
        .query_map([], |row| row.get(0).map(LeaseToken))?
        .collect()
}

/// See [`quillwork_app::ports::store::LogWriter::ready`].
pub(super) fn ready(conn: &Connection, claim: &Claim, now: Timestamp) -> rusqlite::Result<Vec<Task>> {
    let handler = &*claim.handler;
    call_up(conn, handler, now)?;
    let tenants = tenants(conn, claim)?;
    let asked = share(claim.limit, tenants.len());
    let line = |tenant: &String| Ok(Line { tasks: waiting(conn, handler, tenant, asked)?, asked });
    let mut lines: Vec<Line> = tenants.iter().map(line).collect::<rusqlite::Result<_>>()?;
    while let Some(asked) = next_share(&lines, claim.limit) {
        for (index, line) in unfinished(&mut lines) {
            *line = Line { tasks: waiting(conn, handler, &tenants[index], asked)?, asked };
        }
    }
    Ok(take_turns(lines, claim.limit))
}

/// Puts delayed tasks whose time has come into the line, the first due first and not too many at once.
fn call_up(conn: &Connection, handler: &str, now: Timestamp) -> rusqlite::Result<()> {
    let due = conn
        .prepare_cached(
            "SELECT 1 FROM tasks INDEXED BY tasks_delayed
             WHERE lease IS NULL AND delayed AND handler = ?1 AND run_at <= ?2 LIMIT 1",
        )?
        .query_row(params![handler, now.as_millis()], |_| Ok(()))
        .optional()?;
    if due.is_some() {
        conn.prepare_cached(
            "UPDATE tasks SET delayed = 0 WHERE (stream, stage) IN
               (SELECT stream, stage FROM tasks INDEXED BY tasks_delayed
                WHERE lease IS NULL AND delayed AND handler = ?1 AND run_at <= ?2 ORDER BY run_at LIMIT ?3)",
        )?
        .execute(params![handler, now.as_millis(), CALLED_UP])?;
    }
    Ok(())
}

/// The tenants whose tasks wait, in turn, up to the limit of the claim: from tenant to tenant by hopping through the
/// index, so that nobody's tasks are walked over.
fn tenants(conn: &Connection, claim: &Claim) -> rusqlite::Result<Vec<String>> {
    let (handler, last) = (&*claim.handler, &*claim.after);
    let mut hop = conn.prepare_cached(
        "SELECT tenant FROM tasks INDEXED BY tasks_waiting
         WHERE lease IS NULL AND NOT delayed AND handler = ?1 AND tenant > ?2 ORDER BY tenant LIMIT 1",
    )?;
    let mut found = Vec::new();
    // Once from the tenant that had the last turn to the end, and once from the beginning to him.
    for (start, wrapped) in [(last, false), ("", true)] {
        let mut at = start.to_owned();
        while found.len() < claim.limit
            && let Some(tenant) = hop.query_row([handler, &at], |row| row.get::<_, String>(0)).optional()?
            && !(wrapped && *tenant > *last)
        {
            found.push(tenant.clone());
            at = tenant;
        }
    }
    Ok(found)
}

/// The first of one tenant's line.
fn waiting(conn: &Connection, handler: &str, tenant: &str, limit: usize) -> rusqlite::Result<Vec<Task>> {
    conn.prepare_cached(&format!(
        "SELECT {TASK_COLUMNS} FROM tasks INDEXED BY tasks_waiting
         WHERE lease IS NULL AND NOT delayed AND handler = ?1 AND tenant = ?2
         ORDER BY priority DESC, run_at, stream, stage LIMIT ?3"
    ))?
    .query_map(params![handler, tenant, rows_limit(limit)], |row| Ok(rows::task(row)?.0))?
    .collect()
}

pub(super) fn next_due(
    conn: &Connection,
    handlers: &[Arc<str>],
    now: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut select = conn.prepare_cached(
        "SELECT run_at FROM tasks INDEXED BY tasks_delayed
         WHERE lease IS NULL AND delayed AND handler = ?1 AND run_at > ?2 ORDER BY run_at LIMIT 1",
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
