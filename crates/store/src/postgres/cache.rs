//! A cache beside the log, for what should outlive the processes and be there for all of them.
//!
//! Everything here may be lost: what cannot be read in time is a miss, and the log says once that there is trouble and
//! once that it is over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quillwork_app::ports::cache::{Cache, CacheKey, Hit, MAX_TTL, Tier, is_storable};
use quillwork_app::ports::store::StoreError;
use sqlx::Row as _;
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};

use crate::postgres::PostgresConfig;
use crate::postgres::place::Place;
use crate::postgres::session::Statement;

/// Connections of its own: a flood of values keeps no reader of the log waiting.
const MAX_CONNECTIONS: u32 = 2;

/// Nobody waits longer for a slow server.
const PATIENCE: Duration = Duration::from_secs(2);

/// For many values, in the background.
const RECENT_PATIENCE: Duration = Duration::from_secs(30);

/// What an entry needs besides its value, about.
const OVERHEAD_BYTES: u64 = 256;

/// So many are read for a process that starts.
const MAX_RECENT: i64 = 10_000;

const LOOK_UP: &str = "UPDATE quillwork.cache_entries SET used_at = clock.now
     FROM (SELECT quillwork.clock_ms() AS now) clock
     WHERE namespace = $1 AND digest = $2 AND expires_at > clock.now
     RETURNING value, expires_at - clock.now";

const PUT: &str = "INSERT INTO quillwork.cache_entries (namespace, digest, value, bytes, expires_at, used_at)
     SELECT $1, $2, $3, $4, clock.now + $5, clock.now FROM (SELECT quillwork.clock_ms() AS now) clock
     ON CONFLICT (namespace, digest) DO UPDATE SET
       value = excluded.value, bytes = excluded.bytes, expires_at = excluded.expires_at, used_at = excluded.used_at";

const REMOVE: &str = "DELETE FROM quillwork.cache_entries WHERE namespace = $1 AND digest = $2";

/// More leave than come. Whoever is sweeping already is not waited for.
const SWEEP: &str = "DELETE FROM quillwork.cache_entries WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM quillwork.cache_entries WHERE expires_at <= (SELECT quillwork.clock_ms())
       ORDER BY expires_at LIMIT 8 FOR UPDATE SKIP LOCKED))";

/// So many are forgotten at once: soon done.
const MAX_TRIMMED: usize = 1_000;

/// Of what was used last, $1 bytes stay.
const TRIM: &str = "DELETE FROM quillwork.cache_entries WHERE (namespace, digest) IN (
       SELECT namespace, digest FROM (
         SELECT namespace, digest, sum(bytes) OVER (ORDER BY used_at DESC, namespace, digest) AS newer
         FROM quillwork.cache_entries) ranked
       WHERE newer > $1 LIMIT $2) RETURNING 1";

const RECENT: &str = "SELECT namespace, digest, value, expires_at - (SELECT quillwork.clock_ms()) FROM (
       SELECT namespace, digest, value, expires_at, used_at,
         sum(bytes) OVER (ORDER BY used_at DESC, namespace, digest) AS newer
       FROM quillwork.cache_entries
       WHERE namespace = ANY ($1) AND expires_at > (SELECT quillwork.clock_ms())) ranked
     WHERE newer <= $2 ORDER BY used_at DESC, namespace, digest LIMIT $3";

/// Values in the table `cache_entries`, bounded by their bytes: what was not used for longest is forgotten first.
pub struct PostgresCache {
    place: Place,
    pool: PgPool,
    max_bytes: u64,
    /// Written by this process since it last made room.
    written: AtomicU64,
    /// The log says that there is trouble.
    is_announced: AtomicBool,
}

impl PostgresCache {
    /// Holds about `max_bytes` at most, with all other processes. Must be called on a runtime; connects when it is first
    /// asked.
    pub fn new(config: &PostgresConfig, max_bytes: u64) -> Result<Self, StoreError> {
        let place = Place::new(config)?;
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(place.options.clone());
        let (written, is_announced) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Self { place, pool, max_bytes, written, is_announced })
    }

    /// Ends its connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The rows, or nothing if the server does not answer in time.
    async fn run(&self, statement: Statement<'static>, patience: Duration) -> Option<Vec<PgRow>> {
        let (pool, pooled) = (self.pool.clone(), self.place.pooled);
        // To its end, also when whoever asked has gone: a transaction that is dropped while it begins stays open on its
        // connection.
        let running = tokio::spawn(tokio::time::timeout(patience, async move {
            if !pooled {
                return statement.fetch_all(&pool).await;
            }
            let mut tx = pool.begin().await?;
            let rows = statement.persistent(false).fetch_all(&mut *tx).await?;
            tx.commit().await?;
            Ok(rows)
        }));
        match running.await {
            Ok(Ok(Ok(rows))) => {
                if self.is_announced.swap(false, Ordering::Relaxed) {
                    tracing::info!(database = self.place.name, "the cache in PostgreSQL works again");
                }
                Some(rows)
            }
            Ok(Ok(Err(error))) => self.announce(&self.place.error(error)),
            Ok(Err(_)) => self.announce(&self.place.silent()),
            // A panic there has been reported there, and the end of the runtime needs no report.
            Err(_) => None,
        }
    }

    fn announce<T>(&self, error: &StoreError) -> Option<T> {
        if !self.is_announced.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                database = self.place.name, %error,
                "the cache does not work; until it does, nothing is kept in PostgreSQL for later",
            );
        }
        None
    }

    /// Sweeps with every value, and makes room whenever a part of it may be gone.
    async fn tidy(&self, written: u64) {
        self.run(sqlx::query(SWEEP), PATIENCE).await;
        let since = self.written.fetch_add(written, Ordering::Relaxed) + written;
        if since > self.max_bytes / 16 {
            let statement = sqlx::query(TRIM).bind(signed(self.max_bytes)).bind(MAX_TRIMMED as i64);
            let trimmed = self.run(statement, PATIENCE).await;
            // Otherwise the next one goes on.
            if trimmed.is_some_and(|rows| rows.len() < MAX_TRIMMED) {
                self.written.store(0, Ordering::Relaxed);
            }
        }
    }
}

#[async_trait]
impl Cache for PostgresCache {
    async fn look_up(&self, key: &CacheKey) -> Option<Hit> {
        let statement = sqlx::query(LOOK_UP).bind(key.namespace()).bind(key.digest().to_vec());
        let rows = self.run(statement, PATIENCE).await?;
        hit(rows.first()?, 0)
    }

    async fn put(&self, key: &CacheKey, value: Bytes, ttl: Duration) {
        if !is_storable(&value, ttl) {
            return self.remove(key).await;
        }
        let bytes = value.len() as u64 + OVERHEAD_BYTES;
        let ttl = i64::try_from(ttl.min(MAX_TTL).as_millis()).unwrap_or(i64::MAX);
        let statement = sqlx::query(PUT)
            .bind(key.namespace())
            .bind(key.digest().to_vec())
            .bind(value.to_vec())
            .bind(signed(bytes))
            .bind(ttl);
        if self.run(statement, PATIENCE).await.is_some() {
            self.tidy(bytes).await;
        }
    }

    async fn remove(&self, key: &CacheKey) {
        let statement = sqlx::query(REMOVE).bind(key.namespace()).bind(key.digest().to_vec());
        self.run(statement, PATIENCE).await;
    }

    async fn recent(&self, namespaces: &[&'static str], max_bytes: u64) -> Vec<(CacheKey, Hit)> {
        let statement =
            sqlx::query(RECENT).bind(namespaces.to_vec()).bind(signed(max_bytes)).bind(MAX_RECENT);
        let rows = self.run(statement, RECENT_PATIENCE).await.unwrap_or_default();
        let known = |row: &PgRow| {
            let stored: String = row.try_get(0).ok()?;
            let namespace = namespaces.iter().find(|namespace| **namespace == stored)?;
            let digest = row.try_get::<Vec<u8>, _>(1).ok()?.try_into().ok()?;
            Some((CacheKey::stored(namespace, digest), hit(row, 2)?))
        };
        rows.iter().filter_map(known).collect()
    }
}

/// The value and its time, from column `first` on.
fn hit(row: &PgRow, first: usize) -> Option<Hit> {
    let value: Vec<u8> = row.try_get(first).ok()?;
    let left: i64 = row.try_get(first + 1).ok()?;
    let ttl = Duration::from_millis(u64::try_from(left).unwrap_or_default());
    Some(Hit { value: value.into(), ttl, tier: Tier::Store })
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
