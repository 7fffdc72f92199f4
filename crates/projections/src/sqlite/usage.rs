//! What was paid for.

use quillwork_domain::id::Position;
use quillwork_domain::time::Day;
use quillwork_domain::usage::Paid;
use rusqlite::{Transaction, params};

use quillwork_app::ports::spending::Spendings;

use super::Readers;
use crate::read_models::ReadModelError;
use crate::usage::{self, UsageDelta, UsageFilter, UsageGroup, UsagePlace, UsageRow};

const ADD: &str = "
    INSERT INTO usage (tenant, day, provider, model, calls, input_tokens, output_tokens, cost_micros)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (tenant, day, provider, model) DO UPDATE SET
        calls = calls + excluded.calls, input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens, cost_micros = cost_micros + excluded.cost_micros";

// One statement, so that sum and position are of one commit.
const SPENT: &str = "
    SELECT (SELECT coalesce(sum(cost_micros), 0) FROM usage WHERE tenant = ?1 AND day = ?2), position
    FROM checkpoint WHERE id = 1";

pub(super) fn add(tx: &Transaction<'_>, delta: &UsageDelta) -> Result<(), ReadModelError> {
    for ((tenant, day, provider, model), paid) in &delta.0 {
        let Paid { calls, input_tokens, output_tokens, cost_micros } = paid;
        tx.prepare_cached(ADD)?.execute(params![
            tenant,
            day.number(),
            provider,
            model,
            calls,
            input_tokens,
            output_tokens,
            cost_micros
        ])?;
    }
    Ok(())
}

/// What a tenant has spent on a day.
pub(crate) fn spent(readers: &Readers, tenant: &str, day: Day) -> Result<Spendings, ReadModelError> {
    readers.read(|connection| {
        let mut select = connection.prepare_cached(SPENT)?;
        Ok(select.query_row(params![tenant, day.number()], |row| {
            Ok(Spendings { cost_micros: row.get(0)?, position: Position(row.get(1)?) })
        })?)
    })
}

/// Up to `limit` rows after a place.
pub(crate) async fn rows(
    readers: &Readers,
    filter: &UsageFilter,
    group: UsageGroup,
    after: UsagePlace,
    limit: usize,
) -> Result<Vec<UsageRow>, ReadModelError> {
    let select = usage::select("usage", group, |parameter| format!("?{parameter}"));
    let (filter, limit) = (filter.clone(), i64::try_from(limit).unwrap_or(i64::MAX));
    readers
        .read_long(move |connection| {
            let mut select = connection.prepare_cached(&select)?;
            let (from, to) = filter.days();
            let day = after.day_number();
            let UsagePlace { tenant, provider, model, .. } = after;
            let rows = select.query_map(
                params![
                    filter.tenant,
                    filter.provider,
                    filter.model,
                    from,
                    to,
                    day,
                    tenant.unwrap_or_default(),
                    provider.unwrap_or_default(),
                    model.unwrap_or_default(),
                    limit
                ],
                |row| {
                    Ok(UsageRow {
                        place: UsagePlace {
                            day: row.get::<_, Option<u32>>(0)?.map(Day::from_number),
                            tenant: row.get(1)?,
                            provider: row.get(2)?,
                            model: row.get(3)?,
                        },
                        paid: Paid {
                            calls: row.get(4)?,
                            input_tokens: row.get(5)?,
                            output_tokens: row.get(6)?,
                            cost_micros: row.get(7)?,
                        },
                    })
                },
            )?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
}
