//! What was paid for.

use quillwork_app::ports::spending::Spendings;
use quillwork_domain::id::Position;
use quillwork_domain::time::Day;
use quillwork_domain::usage::Paid;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::write::run;
use super::{Database, from_i64, text, to_i64};
use crate::read_models::ReadModelError;
use crate::usage::{self, UsageDelta, UsageFilter, UsageGroup, UsagePlace, UsageRow};

const ADD: &str = "
    INSERT INTO {schema}.usage AS usage (tenant, day, provider, model, calls, input_tokens, output_tokens, cost_micros)
    SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
                         $8::bigint[])
    ON CONFLICT (tenant, day, provider, model) DO UPDATE SET
        calls = usage.calls + excluded.calls, input_tokens = usage.input_tokens + excluded.input_tokens,
        output_tokens = usage.output_tokens + excluded.output_tokens,
        cost_micros = usage.cost_micros + excluded.cost_micros";

// One statement, so that sum and position are of one commit.
const SPENT: &str = "
    SELECT (SELECT coalesce(sum(cost_micros), 0)::bigint FROM {schema}.usage WHERE tenant = $1 AND day = $2), position
    FROM {schema}.checkpoint WHERE id = 1";

pub(super) async fn add(
    tx: &mut PgConnection,
    database: &Database,
    delta: &UsageDelta,
) -> Result<(), ReadModelError> {
    let keys: Vec<_> = delta.0.keys().collect();
    let column =
        |value: fn(&Paid) -> u64| -> Vec<i64> { delta.0.values().map(|paid| to_i64(value(paid))).collect() };
    let texts = |value: fn(&usage::UsageKey) -> &String| -> Vec<String> {
        keys.iter().map(|key| text(value(key)).into_owned()).collect()
    };
    let add = sqlx::query(database.sql(ADD))
        .bind(texts(|(tenant, ..)| tenant))
        .bind(keys.iter().map(|(_, day, ..)| number(*day)).collect::<Vec<_>>())
        .bind(texts(|(_, _, provider, _)| provider))
        .bind(texts(|(.., model)| model))
        .bind(column(|paid| paid.calls))
        .bind(column(|paid| paid.input_tokens))
        .bind(column(|paid| paid.output_tokens))
        .bind(column(|paid| paid.cost_micros));
    run(tx, database, add).await?;
    Ok(())
}

/// What a tenant has spent on a day.
pub(crate) async fn spent(database: &Database, tenant: &str, day: Day) -> Result<Spendings, ReadModelError> {
    let select = sqlx::query(database.sql(SPENT)).bind(text(tenant).into_owned()).bind(number(day));
    let rows = database.run(select).await?;
    let row = rows.first().ok_or_else(|| ReadModelError::Damaged("there is no checkpoint".to_owned()))?;
    Ok(Spendings { cost_micros: from_i64(row.try_get(0)?), position: Position(from_i64(row.try_get(1)?)) })
}

/// Up to `limit` rows after a place.
pub(crate) async fn rows(
    database: &Database,
    filter: &UsageFilter,
    group: UsageGroup,
    after: UsagePlace,
    limit: usize,
) -> Result<Vec<UsageRow>, ReadModelError> {
    // Types are told, because nothing else tells those of a parameter that the group leaves out.
    let select = usage::select("{schema}.usage", group, |parameter| {
        let kind = if let 4..=6 | 10 = parameter { "bigint" } else { "text" };
        format!("${parameter}::{kind}")
    });
    let (from, to) = filter.days();
    let day = after.day_number();
    let UsagePlace { tenant, provider, model, .. } = after;
    let select = sqlx::query(database.sql(&select))
        .bind(filter.tenant.clone())
        .bind(filter.provider.clone())
        .bind(filter.model.clone())
        .bind(from)
        .bind(to)
        .bind(day)
        .bind(tenant.unwrap_or_default())
        .bind(provider.unwrap_or_default())
        .bind(model.unwrap_or_default())
        .bind(to_i64(limit as u64));
    database.run(select).await?.iter().map(row).collect()
}

fn row(row: &PgRow) -> Result<UsageRow, ReadModelError> {
    let text = |column| row.try_get::<Option<String>, _>(column);
    let sum = |column| Ok::<_, sqlx::Error>(from_i64(row.try_get(column)?));
    let day = row.try_get::<Option<i32>, _>(0)?.map(|day| Day::from_number(u32::try_from(day).unwrap_or(0)));
    Ok(UsageRow {
        place: UsagePlace { day, tenant: text(1)?, provider: text(2)?, model: text(3)? },
        paid: Paid { calls: sum(4)?, input_tokens: sum(5)?, output_tokens: sum(6)?, cost_micros: sum(7)? },
    })
}

fn number(day: Day) -> i32 {
    i32::try_from(day.number()).unwrap_or(i32::MAX)
}
