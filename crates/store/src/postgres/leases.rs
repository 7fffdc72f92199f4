//! Leases by the server's clock, and what dead ones leave behind.

use std::time::Duration;

use quillwork_app::ports::store::{LeaseToken, TaskKey};
use sqlx::Row as _;

use crate::postgres::place::Hears;
use crate::postgres::rows::{self, rows_limit};
use crate::postgres::session::{Failure, Session};

/// Others learn that they are not alone, or that tasks have lost their holder; nobody can say at which position.
macro_rules! tell {
    ($if:literal) => {
        concat!("CASE WHEN ", $if, " THEN pg_notify('quillwork', '0 0 ?')::text END")
    };
}

pub(super) const OPEN: &str = concat!(
    "INSERT INTO quillwork.leases (worker, expires_at, hears_all) VALUES ($1, quillwork.clock_ms() + $2, $4)
     RETURNING token, ",
    tell!("$3")
);

pub(super) const RENEW: &str =
    "UPDATE quillwork.leases SET expires_at = quillwork.clock_ms() + $2 WHERE token = $1 RETURNING token";

pub(super) const CLOSE: &str =
    concat!("DELETE FROM quillwork.leases WHERE token = $1 RETURNING token, ", tell!("$2"));

/// The leases that tasks name, by hopping through the index of held tasks: whatever waits is not looked at.
macro_rules! holders {
    () => {
        "holder (lease) AS (
           (SELECT t.lease FROM quillwork.tasks t WHERE t.lease IS NOT NULL ORDER BY t.lease LIMIT 1)
           UNION ALL
           SELECT n.lease FROM holder CROSS JOIN LATERAL (
             SELECT t.lease FROM quillwork.tasks t WHERE t.lease > holder.lease ORDER BY t.lease LIMIT 1
           ) n
         )"
    };
}
pub(super) use holders;

/// A lease that expired is ended for good: from here on its holder cannot renew it. One that is renewed just now is not
/// ended, because the deletion looks at the row again when it gets it.
pub(super) const ORPHANS: &str = concat!(
    "WITH RECURSIVE ended AS (
       DELETE FROM quillwork.leases WHERE token <> $1 AND expires_at < quillwork.clock_ms() RETURNING token
     ), ",
    holders!(),
    " SELECT o.stream, o.stage, o.lease FROM holder CROSS JOIN LATERAL (
        SELECT t.stream, t.stage, t.lease FROM quillwork.tasks t
        WHERE t.lease = holder.lease ORDER BY t.handler, t.stream, t.stage LIMIT $2
      ) o
      WHERE NOT EXISTS (
        SELECT FROM quillwork.leases l
        WHERE l.token = holder.lease AND NOT EXISTS (SELECT FROM ended WHERE ended.token = l.token)
      )
      LIMIT $2"
);

pub(super) const HELD: &str = "SELECT t.stream, t.stage FROM quillwork.tasks t WHERE t.lease = $1 ORDER BY t.handler, t.stream, t.stage";

pub(super) async fn open(session: &mut Session, worker: &str, ttl: Duration) -> Result<LeaseToken, Failure> {
    let tell = !session.pooled();
    let hears_all = session.hears() == Hears::All;
    let row =
        session.one(sqlx::query(OPEN).bind(worker).bind(millis(ttl)).bind(tell).bind(hears_all)).await?;
    Ok(LeaseToken(row.try_get(0)?))
}

pub(super) async fn renew(session: &mut Session, lease: LeaseToken, ttl: Duration) -> Result<bool, Failure> {
    let renewed = session.all(sqlx::query(RENEW).bind(lease.0).bind(millis(ttl))).await?;
    Ok(renewed.len() == 1)
}

pub(super) async fn close(session: &mut Session, lease: LeaseToken) -> Result<(), Failure> {
    let tell = !session.pooled();
    session.all(sqlx::query(CLOSE).bind(lease.0).bind(tell)).await.map(drop)
}

pub(super) async fn orphans(
    session: &mut Session,
    mine: LeaseToken,
    limit: usize,
) -> Result<Vec<(TaskKey, LeaseToken)>, Failure> {
    let found = session.all(sqlx::query(ORPHANS).bind(mine.0).bind(rows_limit(limit))).await?;
    let orphan = |row| Ok((rows::key(row, 0)?, LeaseToken(row.try_get(2)?)));
    found.iter().map(orphan).collect::<sqlx::Result<_>>().map_err(Failure::Error)
}

pub(super) async fn held(session: &mut Session, lease: LeaseToken) -> Result<Vec<TaskKey>, Failure> {
    let found = session.all(sqlx::query(HELD).bind(lease.0)).await?;
    found.iter().map(|row| rows::key(row, 0)).collect::<sqlx::Result<_>>().map_err(Failure::Error)
}

fn millis(ttl: Duration) -> i64 {
    // Clamped so that it can be added to the time.
    i64::try_from(ttl.as_millis()).map_or(i64::MAX / 4, |millis| millis.min(i64::MAX / 4))
}
