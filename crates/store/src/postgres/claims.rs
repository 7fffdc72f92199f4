//! Waiting tasks: what is ready, whose turn it is, and when the next is due.
//!
//! PostgreSQL evaluates a recursive query only as far as its rows are fetched, and a LATERAL item once for each row before
//! it. So the hops below end with the LIMIT around them. No hop walks over rows that it does not return.

use std::sync::Arc;

use quillwork_app::ports::store::{Claim, Task};
use quillwork_domain::time::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::postgres::leases::holders;
use crate::postgres::rows::{self, rows_limit, task_columns, unsigned};
use crate::postgres::session::{Failure, Session};
use crate::turns::{Line, next_share, take_turns, unfinished};

/// The priorities of one tenant's waiting tasks, highest first. The index orders by priority before time, so each is a
/// range of its own: tasks of the future are never walked over, however many there are.
macro_rules! priorities {
    ($handler:literal, $tenant:literal) => {
        concat!(
            "priority (value) AS (
               (SELECT w.priority FROM quillwork.tasks w
                WHERE w.lease IS NULL AND w.handler = ",
            $handler,
            " AND w.tenant = ",
            $tenant,
            "
                ORDER BY w.priority DESC LIMIT 1)
               UNION ALL
               SELECT n.priority FROM priority CROSS JOIN LATERAL (
                 SELECT w.priority FROM quillwork.tasks w
                 WHERE w.lease IS NULL AND w.handler = ",
            $handler,
            " AND w.tenant = ",
            $tenant,
            "
                   AND w.priority < priority.value
                 ORDER BY w.priority DESC LIMIT 1
               ) n
             )"
        )
    };
}

/// The due tasks of one tenant, up to a limit.
macro_rules! due {
    ($handler:literal, $tenant:literal, $now:literal, $limit:literal) => {
        concat!(
            "(WITH RECURSIVE ",
            priorities!($handler, $tenant),
            "
              SELECT d.* FROM priority CROSS JOIN LATERAL (
                SELECT ",
            task_columns!(),
            " FROM quillwork.tasks t
                WHERE t.lease IS NULL AND t.handler = ",
            $handler,
            " AND t.tenant = ",
            $tenant,
            "
                  AND t.priority = priority.value AND t.run_at <= ",
            $now,
            "
                ORDER BY t.run_at, t.stream, t.stage LIMIT ",
            $limit,
            "
              ) d
              LIMIT ",
            $limit,
            ")"
        )
    };
}

/// For each claim the tenants that have due tasks, up to its limit of them, and of each an equal share of the limit.
///
/// From tenant to tenant: to the next in order of the names; at the end once more from the beginning, up to the tenant
/// that had the last turn. If nothing is due, nobody is visited.
pub(super) const READY: &str = concat!(
    "SELECT claim.number, turn.number, ", "turn.share, d.*
     FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS claim (handler, after, room, number)
     CROSS JOIN LATERAL (
       SELECT found.tenant, found.number, (claim.room + count(*) OVER () - 1) / count(*) OVER () AS share
       FROM (
         WITH RECURSIVE hop (tenant, number, wrapped) AS (
           SELECT claim.after COLLATE \"C\", 0, false
           WHERE EXISTS (
             SELECT FROM (
               SELECT w.run_at FROM quillwork.tasks w
               WHERE w.lease IS NULL AND w.handler = claim.handler AND w.run_at <= $4 ORDER BY w.run_at LIMIT 1
             ) first
           )
           UNION ALL
           SELECT n.tenant, hop.number + 1, n.wrapped FROM hop CROSS JOIN LATERAL (
             (SELECT w.tenant, false AS wrapped FROM quillwork.tasks w
              WHERE NOT hop.wrapped AND w.lease IS NULL AND w.handler = claim.handler AND w.tenant > hop.tenant
              ORDER BY w.tenant LIMIT 1)
             UNION ALL
             (SELECT w.tenant, true FROM quillwork.tasks w
              WHERE NOT hop.wrapped AND w.lease IS NULL AND w.handler = claim.handler AND w.tenant <= claim.after
              ORDER BY w.tenant LIMIT 1)
             UNION ALL
             (SELECT w.tenant, true FROM quillwork.tasks w
              WHERE hop.wrapped AND w.lease IS NULL AND w.handler = claim.handler AND w.tenant > hop.tenant
                AND w.tenant <= claim.after
              ORDER BY w.tenant LIMIT 1)
             LIMIT 1
           ) n
         )
         SELECT hop.tenant, hop.number FROM hop
         WHERE hop.number > 0 AND EXISTS ", due!("claim.handler", "hop.tenant", "$4", "1"), "
         LIMIT claim.room
       ) found
     ) turn
     CROSS JOIN LATERAL ", due!("claim.handler", "turn.tenant", "$4", "turn.share"), " d"
);

/// The due tasks of given tenants, up to a limit for each.
pub(super) const DUE: &str = concat!(
    "SELECT line.number, d.*
     FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS line (tenant, room, number)
     CROSS JOIN LATERAL ",
    due!("$3", "line.tenant", "$4", "line.room"),
    " d"
);

pub(super) const NEXT_DUE: &str = "SELECT min(n.run_at) FROM unnest($1::text[]) AS wanted (handler)
     CROSS JOIN LATERAL (
       SELECT w.run_at FROM quillwork.tasks w
       WHERE w.lease IS NULL AND w.handler = wanted.handler AND w.run_at > $2 ORDER BY w.run_at LIMIT 1
     ) n";

pub(super) const HELD_BY_HANDLER: &str = concat!(
    "WITH RECURSIVE ", holders!(), "
     SELECT wanted.number, (
       SELECT coalesce(sum(n.held), 0)::bigint FROM holder CROSS JOIN LATERAL (
         SELECT count(*) AS held FROM quillwork.tasks t WHERE t.lease = holder.lease AND t.handler = wanted.handler
       ) n
     )
     FROM unnest($1::text[]) WITH ORDINALITY AS wanted (handler, number) ORDER BY wanted.number"
);

/// Waiting and held ones, each by hopping through its index.
pub(super) const HANDLERS: &str = "WITH RECURSIVE waiting (handler) AS (
       (SELECT w.handler FROM quillwork.tasks w WHERE w.lease IS NULL ORDER BY w.handler LIMIT 1)
       UNION ALL
       SELECT n.handler FROM waiting CROSS JOIN LATERAL (
         SELECT w.handler FROM quillwork.tasks w WHERE w.lease IS NULL AND w.handler > waiting.handler
         ORDER BY w.handler LIMIT 1
       ) n
     ), held (lease, handler) AS (
       (SELECT t.lease, t.handler FROM quillwork.tasks t WHERE t.lease IS NOT NULL ORDER BY t.lease, t.handler LIMIT 1)
       UNION ALL
       SELECT n.lease, n.handler FROM held CROSS JOIN LATERAL (
         SELECT t.lease, t.handler FROM quillwork.tasks t
         WHERE t.lease IS NOT NULL AND (t.lease, t.handler) > (held.lease, held.handler)
         ORDER BY t.lease, t.handler LIMIT 1
       ) n
     )
     SELECT handler FROM waiting UNION SELECT handler FROM held";

/// See [`quillwork_app::ports::store::LogWriter::ready`].
pub(super) async fn ready(
    session: &mut Session,
    claims: &[Claim],
    now: Timestamp,
) -> Result<Vec<Vec<Task>>, Failure> {
    let handlers: Vec<&str> = claims.iter().map(|claim| &*claim.handler).collect();
    let after: Vec<&str> = claims.iter().map(|claim| &*claim.after).collect();
    let rooms: Vec<i64> = claims.iter().map(|claim| rows_limit(claim.limit)).collect();
    let query = sqlx::query(READY).bind(handlers).bind(after).bind(rooms).bind(now.as_millis());
    let found = session.all(query).await?;
    let mut queues: Vec<Queue> = claims.iter().map(|_| Queue::default()).collect();
    for row in &found {
        let claim = usize::try_from(unsigned(row, 0)?).unwrap_or_default();
        if let Some(queue) = claim.checked_sub(1).and_then(|claim| queues.get_mut(claim)) {
            queue.add(row)?;
        }
    }
    let mut ready = Vec::with_capacity(claims.len());
    for (claim, queue) in claims.iter().zip(queues) {
        let mut lines = queue.lines();
        while let Some(asked) = next_share(&lines, claim.limit) {
            lengthen(session, &claim.handler, now, &mut lines, asked).await?;
        }
        ready.push(take_turns(lines, claim.limit));
    }
    Ok(ready)
}

/// The tenants of one claim as their rows come, each with its number and its line.
#[derive(Default)]
struct Queue {
    lines: Vec<(i32, Line)>,
}

impl Queue {
    fn add(&mut self, row: &PgRow) -> sqlx::Result<()> {
        let (number, task) = (row.try_get(1)?, rows::task(row, 3)?);
        match self.lines.iter_mut().rev().find(|(known, _)| *known == number) {
            Some((_, line)) => line.tasks.push(task),
            None => {
                let asked = usize::try_from(unsigned(row, 2)?).unwrap_or(usize::MAX);
                self.lines.push((number, Line { tasks: vec![task], asked }));
            }
        }
        Ok(())
    }

    /// In turn, each in its order.
    fn lines(mut self) -> Vec<Line> {
        self.lines.sort_by_key(|(number, _)| *number);
        self.lines.into_iter().map(|(_, line)| Line { tasks: in_order(line.tasks), ..line }).collect()
    }
}

/// Asks the lines that may have more for more.
async fn lengthen(
    session: &mut Session,
    handler: &str,
    now: Timestamp,
    lines: &mut [Line],
    asked: usize,
) -> Result<(), Failure> {
    let mut longer: Vec<(&mut Line, Arc<str>)> = unfinished(lines)
        .filter_map(|(_, line)| {
            line.tasks.first().map(|task| task.tenant.clone()).map(|tenant| (line, tenant))
        })
        .collect();
    let tenants: Vec<&str> = longer.iter().map(|(_, tenant)| &**tenant).collect();
    let rooms = vec![rows_limit(asked); tenants.len()];
    let query = sqlx::query(DUE).bind(tenants).bind(rooms).bind(handler).bind(now.as_millis());
    let found = session.all(query).await?;
    for (line, _) in &mut longer {
        **line = Line { tasks: Vec::new(), asked };
    }
    for row in &found {
        let number = usize::try_from(unsigned(row, 0)?).unwrap_or_default();
        if let Some((line, _)) = number.checked_sub(1).and_then(|index| longer.get_mut(index)) {
            line.tasks.push(rows::task(row, 1)?);
        }
    }
    for (line, _) in longer {
        line.tasks = in_order(std::mem::take(&mut line.tasks));
    }
    Ok(())
}

/// Rows come in the order of the index, which nothing but the present planner promises.
fn in_order(mut tasks: Vec<Task>) -> Vec<Task> {
    tasks.sort_by_key(|task| (std::cmp::Reverse(task.priority), task.run_at, task.key));
    tasks
}

pub(super) async fn next_due(
    session: &mut Session,
    handlers: &[Arc<str>],
    now: Timestamp,
) -> Result<Option<Timestamp>, Failure> {
    let row = session.one(sqlx::query(NEXT_DUE).bind(names(handlers)).bind(now.as_millis())).await?;
    Ok(row.try_get::<Option<i64>, _>(0)?.map(Timestamp::from_millis))
}

pub(super) async fn held_by_handler(
    session: &mut Session,
    handlers: &[Arc<str>],
) -> Result<Vec<u64>, Failure> {
    let found = session.all(sqlx::query(HELD_BY_HANDLER).bind(names(handlers))).await?;
    found.iter().map(|row| unsigned(row, 1)).collect::<sqlx::Result<_>>().map_err(Failure::Error)
}

pub(super) async fn handlers(session: &mut Session) -> Result<Vec<String>, Failure> {
    let found = session.all(sqlx::query(HANDLERS)).await?;
    found.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>().map_err(Failure::Error)
}

fn names(handlers: &[Arc<str>]) -> Vec<&str> {
    handlers.iter().map(|handler| &**handler).collect()
}
