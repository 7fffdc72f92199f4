//! What is in the file of the cache.

use std::time::Duration;

use quillwork_app::ports::cache::{CacheKey, Hit, Tier};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use sha2::{Digest as _, Sha256};

/// What an entry needs besides its value, about.
const OVERHEAD_BYTES: u64 = 256;

/// So many expired entries leave at most with each new one: more than come.
const SWEEP: i64 = 8;

/// So many are read for a process that starts.
const MAX_RECENT: i64 = 10_000;

pub(super) struct Entries {
    conn: Connection,
    max_bytes: u64,
    /// What all entries need.
    bytes: u64,
}

impl Entries {
    pub(super) fn new(conn: Connection, max_bytes: u64) -> rusqlite::Result<Self> {
        let bytes = conn.query_row("SELECT coalesce(sum(bytes), 0) FROM entries", [], |row| row.get(0))?;
        Ok(Self { conn, max_bytes, bytes })
    }

    pub(super) fn look_up(&mut self, key: &CacheKey, now: i64) -> rusqlite::Result<Option<Hit>> {
        let sql = "UPDATE entries SET used_at = max(used_at, ?3)
                   WHERE namespace = ?1 AND digest = ?2 AND expires_at > ?3
                   RETURNING value, \"check\", expires_at";
        let mut statement = self.conn.prepare_cached(sql)?;
        let hit = statement
            .query_row(params![key.namespace(), key.digest(), now], |row| hit(row, 0, now))
            .optional()?;
        drop(statement);
        match hit {
            Some(None) => {
                tracing::debug!(%key, "a value of the cache is damaged and is left out");
                self.remove(key)?;
                Ok(None)
            }
            Some(Some(hit)) => Ok(Some(hit)),
            None => Ok(None),
        }
    }

    pub(super) fn put(
        &mut self,
        key: &CacheKey,
        value: &[u8],
        now: i64,
        ttl: Duration,
    ) -> rusqlite::Result<()> {
        let bytes = value.len() as u64 + OVERHEAD_BYTES;
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let tx = self.conn.transaction()?;
        let mut total = self.bytes.saturating_sub(delete(&tx, key)?);
        if bytes <= self.max_bytes {
            let sql = "INSERT INTO entries (namespace, digest, value, \"check\", bytes, expires_at, used_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let expires_at = now.saturating_add(ttl);
            tx.prepare_cached(sql)?.execute(params![
                key.namespace(),
                key.digest(),
                value,
                check(value),
                bytes,
                expires_at,
                now
            ])?;
            total += bytes;
        }
        total = total.saturating_sub(sweep(&tx, now)?);
        while total > self.max_bytes {
            let freed = forget_oldest(&tx)?;
            if freed == 0 {
                break;
            }
            total = total.saturating_sub(freed);
        }
        tx.commit()?;
        self.bytes = total;
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &CacheKey) -> rusqlite::Result<()> {
        let tx = self.conn.transaction()?;
        let freed = delete(&tx, key)?;
        tx.commit()?;
        self.bytes = self.bytes.saturating_sub(freed);
        Ok(())
    }

    /// What was used last, newest first.
    pub(super) fn recent(
        &mut self,
        namespaces: &[&'static str],
        max_bytes: u64,
        now: i64,
    ) -> rusqlite::Result<Vec<(CacheKey, Hit)>> {
        let sql = "SELECT namespace, digest, value, \"check\", expires_at, bytes FROM entries
                   WHERE expires_at > ?1 ORDER BY used_at DESC LIMIT ?2";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params![now, MAX_RECENT])?;
        let (mut recent, mut total) = (Vec::new(), 0_u64);
        while let Some(row) = rows.next()? {
            let stored: String = row.get(0)?;
            let Some(namespace) = namespaces.iter().find(|namespace| **namespace == stored) else { continue };
            total += row.get::<_, u64>(5)?;
            if total > max_bytes {
                break;
            }
            if let Some(hit) = hit(row, 2, now)? {
                recent.push((CacheKey::stored(namespace, row.get(1)?), hit));
            }
        }
        Ok(recent)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The value, its check and the time it expires, from column `first` on; nothing if the value is damaged.
fn hit(row: &rusqlite::Row<'_>, first: usize, now: i64) -> rusqlite::Result<Option<Hit>> {
    let value: Vec<u8> = row.get(first)?;
    if row.get::<_, Vec<u8>>(first + 1)? != check(&value) {
        return Ok(None);
    }
    let left = row.get::<_, i64>(first + 2)?.saturating_sub(now);
    let ttl = Duration::from_millis(u64::try_from(left).unwrap_or_default());
    Ok(Some(Hit { value: value.into(), ttl, tier: Tier::Store }))
}

/// The bytes that became free.
fn delete(tx: &Transaction<'_>, key: &CacheKey) -> rusqlite::Result<u64> {
    let sql = "DELETE FROM entries WHERE namespace = ?1 AND digest = ?2 RETURNING bytes";
    let freed = tx
        .prepare_cached(sql)?
        .query_row(params![key.namespace(), key.digest()], |row| row.get(0))
        .optional()?;
    Ok(freed.unwrap_or_default())
}

fn sweep(tx: &Transaction<'_>, now: i64) -> rusqlite::Result<u64> {
    let sql = "DELETE FROM entries WHERE rowid IN
                 (SELECT rowid FROM entries WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2) RETURNING bytes";
    sum(tx.prepare_cached(sql)?.query_map(params![now, SWEEP], |row| row.get(0))?)
}

fn forget_oldest(tx: &Transaction<'_>) -> rusqlite::Result<u64> {
    let sql = "DELETE FROM entries WHERE rowid IN
                 (SELECT rowid FROM entries ORDER BY used_at, rowid LIMIT 1) RETURNING bytes";
    sum(tx.prepare_cached(sql)?.query_map([], |row| row.get(0))?)
}

fn sum(rows: impl Iterator<Item = rusqlite::Result<u64>>) -> rusqlite::Result<u64> {
    rows.sum()
}

/// Enough to tell damage.
fn check(value: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    check.copy_from_slice(&Sha256::digest(value)[..8]);
    check
}
