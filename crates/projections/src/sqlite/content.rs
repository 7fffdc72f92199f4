//! Articles: what readers did with them.

use quillwork_domain::content::{Rater, Stars};
use quillwork_domain::id::{JobId, Version};
use quillwork_domain::job::Status;
use quillwork_domain::time::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};
use uuid::Uuid;

use super::Readers;
use crate::content_analytics::{ContentAnalytics, ContentChanges, ContentPlace, ContentSort};
use crate::job_row::status_code;
use crate::read_models::ReadModelError;

/// The columns that [`article`] reads, in order.
const COLUMNS: &str = "id, views, ratings, stars, seo_score, updated_at, version";

const UPSERT: &str = "
    INSERT OR REPLACE INTO content_analytics (id, views, ratings, stars, rating, seo_score, updated_at, version)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const DELETE: &str = "DELETE FROM content_analytics WHERE id = ?1";

const UPSERT_RATER: &str = "INSERT OR REPLACE INTO content_rater (content, rater, stars) VALUES (?1, ?2, ?3)";

const STARS: &str = "SELECT stars FROM content_rater WHERE content = ?1 AND rater = ?2";

/// The row of one article.
pub(crate) fn content(readers: &Readers, id: JobId) -> Result<Option<ContentAnalytics>, ReadModelError> {
    readers.read(|connection| row_of(connection, id))
}

/// Up to `limit` articles of jobs that have completed or left the log, after a place in their order.
pub(crate) async fn contents(
    readers: &Readers,
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
        "SELECT {COLUMNS} FROM content_analytics c WHERE ({column}, id) < (?1, ?2)
         AND NOT EXISTS (SELECT 1 FROM job_summary j WHERE j.id = c.id AND j.status <> ?3)
         ORDER BY {column} DESC, id DESC LIMIT ?4"
    );
    readers
        .read_long(move |connection| {
            let mut select = connection.prepare_cached(&select)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let values = params![value, id.0.as_bytes(), status_code(Status::Completed), limit];
            let rows = select.query_and_then(values, article)?;
            rows.collect()
        })
        .await
}

pub(super) fn row_of(connection: &Connection, id: JobId) -> Result<Option<ContentAnalytics>, ReadModelError> {
    let mut select =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM content_analytics WHERE id = ?1"))?;
    let mut rows = select.query([id.0.as_bytes()])?;
    rows.next()?.map(article).transpose()
}

fn article(row: &Row<'_>) -> Result<ContentAnalytics, ReadModelError> {
    Ok(ContentAnalytics {
        id: JobId(Uuid::from_bytes(row.get(0)?)),
        views: row.get(1)?,
        ratings: row.get(2)?,
        stars: row.get(3)?,
        seo_score: row.get(4)?,
        updated_at: Timestamp::from_millis(row.get(5)?),
        version: Version(row.get(6)?),
    })
}

/// How many stars a rater gave an article.
pub(super) fn stars_of(
    connection: &Connection,
    (article, rater): (JobId, Rater),
) -> Result<Option<Stars>, ReadModelError> {
    let mut select = connection.prepare_cached(STARS)?;
    let mut rows = select.query(params![article.0.as_bytes(), rater.0.as_bytes()])?;
    let stars: Option<u64> = rows.next()?.map(|row| row.get(0)).transpose()?;
    stars
        .map(Stars::try_from)
        .transpose()
        .map_err(|error| ReadModelError::Damaged(format!("a rating: {error}")))
}

pub(super) fn write(tx: &Transaction<'_>, contents: &ContentChanges) -> Result<(), ReadModelError> {
    // SQLite's integers are signed.
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for (id, row) in &contents.rows {
        match row {
            Some(row) => tx.prepare_cached(UPSERT)?.execute(params![
                id.0.as_bytes(),
                signed(row.views),
                signed(row.ratings),
                signed(row.stars),
                row.rating(),
                row.seo_score,
                row.updated_at.as_millis(),
                signed(row.version.0),
            ])?,
            None => tx.prepare_cached(DELETE)?.execute([id.0.as_bytes()])?,
        };
    }
    for ((article, rater), stars) in &contents.raters {
        let Some(stars) = stars else { continue };
        tx.prepare_cached(UPSERT_RATER)?.execute(params![
            article.0.as_bytes(),
            rater.0.as_bytes(),
            signed(u64::from(*stars)),
        ])?;
    }
    Ok(())
}
