//! Articles: what readers did with them.

use quillwork_domain::content::{Rater, Stars};
use quillwork_domain::id::{JobId, Version};
use quillwork_domain::job::Status;
use quillwork_domain::time::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::write::{column, run};
use super::{Database, from_i64, to_i64};
use crate::content_analytics::{ContentAnalytics, ContentChanges, ContentPlace, ContentSort};
use crate::job_row::status_code;
use crate::read_models::ReadModelError;

const ROWS: &str = "
    SELECT id, views, ratings, stars, seo_score, updated_at, version
    FROM {schema}.content_analytics WHERE id = ANY($1)";

const STARS: &str = "
    SELECT r.content, r.rater, r.stars
    FROM unnest($1::uuid[], $2::uuid[]) AS w (content, rater)
    JOIN {schema}.content_rater r ON r.content = w.content AND r.rater = w.rater";

const UPSERT: &str = "
    INSERT INTO {schema}.content_analytics (id, views, ratings, stars, rating, seo_score, updated_at, version)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::float8[], $7::bigint[],
                         $8::bigint[])
    ON CONFLICT (id) DO UPDATE SET
        views = excluded.views, ratings = excluded.ratings, stars = excluded.stars, rating = excluded.rating,
        seo_score = excluded.seo_score, updated_at = excluded.updated_at, version = excluded.version";

const DELETE: &str = "DELETE FROM {schema}.content_analytics WHERE id = ANY($1)";

const UPSERT_RATERS: &str = "
    INSERT INTO {schema}.content_rater (content, rater, stars)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[])
    ON CONFLICT (content, rater) DO UPDATE SET stars = excluded.stars";

/// The rows of `ids`, in no order; articles without a row are left out.
pub(crate) async fn rows(
    database: &Database,
    ids: &[JobId],
) -> Result<Vec<ContentAnalytics>, ReadModelError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = database.run(sqlx::query(database.sql(ROWS)).bind(ids)).await?;
    rows.iter().map(article).collect()
}

/// Up to `limit` articles of jobs that have completed or left the log, after a place in their order.
pub(crate) async fn contents(
    database: &Database,
    sort: ContentSort,
    (value, id): ContentPlace,
    limit: usize,
) -> Result<Vec<ContentAnalytics>, ReadModelError> {
    let column = match sort {
        ContentSort::Views => "views",
        ContentSort::Rating => "rating",
        ContentSort::Updated => "updated_at",
    };
    // Only to find the articles of unfinished jobs, of which there are few.
    let select = format!(
        "SELECT id, views, ratings, stars, seo_score, updated_at, version FROM {{schema}}.content_analytics c
         WHERE ({column}, id) < ($1, $2)
         AND NOT EXISTS (SELECT 1 FROM {{schema}}.job_summary j WHERE j.id = c.id AND j.status <> $3)
         ORDER BY {column} DESC, id DESC LIMIT $4"
    );
    let query = sqlx::query(database.sql(&select))
        .bind(value)
        .bind(id.0)
        .bind(status_code(Status::Completed))
        .bind(to_i64(limit as u64));
    let rows = database.run(query).await?;
    rows.iter().map(article).collect()
}

fn article(row: &PgRow) -> Result<ContentAnalytics, ReadModelError> {
    Ok(ContentAnalytics {
        id: JobId(row.try_get("id")?),
        views: from_i64(row.try_get("views")?),
        ratings: from_i64(row.try_get("ratings")?),
        stars: from_i64(row.try_get("stars")?),
        seo_score: row.try_get("seo_score")?,
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
        version: Version(from_i64(row.try_get("version")?)),
    })
}

/// How many stars raters gave articles, in no order; those that gave none are left out.
pub(crate) async fn stars(
    database: &Database,
    raters: &[(JobId, Rater)],
) -> Result<Vec<((JobId, Rater), Stars)>, ReadModelError> {
    let query = sqlx::query(database.sql(STARS))
        .bind(column(raters, |(article, _)| article.0))
        .bind(column(raters, |(_, rater)| rater.0));
    let rows = database.run(query).await?;
    rows.iter()
        .map(|row| {
            let stars = Stars::try_from(from_i64(row.try_get::<i16, _>("stars")?.into()))
                .map_err(|error| ReadModelError::Damaged(format!("a rating: {error}")))?;
            Ok(((JobId(row.try_get("content")?), Rater(row.try_get("rater")?)), stars))
        })
        .collect()
}

pub(super) async fn write(
    tx: &mut PgConnection,
    database: &Database,
    contents: &ContentChanges,
) -> Result<(), ReadModelError> {
    let rows: Vec<&ContentAnalytics> = contents.rows.values().flatten().collect();
    if !rows.is_empty() {
        let upsert = sqlx::query(database.sql(UPSERT))
            .bind(column(&rows, |row| row.id.0))
            .bind(column(&rows, |row| to_i64(row.views)))
            .bind(column(&rows, |row| to_i64(row.ratings)))
            .bind(column(&rows, |row| to_i64(row.stars)))
            .bind(column(&rows, |row| row.rating()))
            .bind(column(&rows, |row| row.seo_score))
            .bind(column(&rows, |row| row.updated_at.as_millis()))
            .bind(column(&rows, |row| to_i64(row.version.0)));
        run(tx, database, upsert).await?;
    }
    let gone: Vec<Uuid> = contents.rows.iter().filter(|(_, row)| row.is_none()).map(|(id, _)| id.0).collect();
    if !gone.is_empty() {
        run(tx, database, sqlx::query(database.sql(DELETE)).bind(gone)).await?;
    }
    let rated: Vec<(JobId, Rater, Stars)> = contents
        .raters
        .iter()
        .filter_map(|((article, rater), stars)| Some((*article, *rater, (*stars)?)))
        .collect();
    if !rated.is_empty() {
        let upsert = sqlx::query(database.sql(UPSERT_RATERS))
            .bind(column(&rated, |(article, _, _)| article.0))
            .bind(column(&rated, |(_, rater, _)| rater.0))
            .bind(column(&rated, |(_, _, stars)| i16::try_from(u64::from(*stars)).unwrap_or_default()));
        run(tx, database, upsert).await?;
    }
    Ok(())
}
