//! Keeping answers that cost time or money to get again.
//!
//! Answers of searches, pages, and completions of language models are kept here.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

#[cfg(feature = "conformance")]
pub mod conformance;

/// Larger values are not stored.
pub const MAX_VALUE_BYTES: usize = 8 * 1024 * 1024;

/// A longer time to live is cut to this.
pub const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Keeps values for a while. It may forget any of them at any time.
///
/// It cannot fail: what cannot be read is a miss, and what cannot be stored is not there the next time.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// The value that was last put, if it is still there, and what is known of it.
    async fn look_up(&self, key: &CacheKey) -> Option<Hit>;

    /// The value alone.
    async fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.look_up(key).await.map(|hit| hit.value)
    }

    /// Replaces the value. A value over [`MAX_VALUE_BYTES`], or one with less than a millisecond to live, leaves no
    /// value behind.
    async fn put(&self, key: &CacheKey, value: Bytes, ttl: Duration);

    /// Removes the value where it can be reached. What must never be read again needs another key instead.
    async fn remove(&self, key: &CacheKey);

    /// The values of the namespaces that were used last, newest first, up to about `max_bytes`: for a process that starts.
    ///
    /// A cache that does not outlive the process has none.
    async fn recent(&self, namespaces: &[&'static str], max_bytes: u64) -> Vec<(CacheKey, Hit)> {
        let _ = (namespaces, max_bytes);
        Vec::new()
    }
}

/// A value that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub value: Bytes,
    /// How long it may be used from now on.
    pub ttl: Duration,
    pub tier: Tier,
}

/// Which cache of several had a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The memory of this process.
    Memory,
    /// The Redis of all processes.
    Redis,
    /// The file or the database that also holds the log.
    Store,
}

/// Whether a value may be stored at all; both ends of [`Cache::put`] in one place.
pub fn is_storable(value: &Bytes, ttl: Duration) -> bool {
    value.len() <= MAX_VALUE_BYTES && ttl >= Duration::from_millis(1)
}

/// What a value is the answer to: a namespace and the digest of the question.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey {
    namespace: &'static str,
    digest: [u8; 32],
}

impl CacheKey {
    /// The key of a question that has several parts, in order. A new shape of the stored values needs a new namespace.
    pub fn new(namespace: &'static str, parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            // With its length, so that no two lists of parts read the same.
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self { namespace, digest: hasher.finalize().into() }
    }

    /// A key that an adapter wrote down in its two parts.
    pub fn stored(namespace: &'static str, digest: [u8; 32]) -> Self {
        Self { namespace, digest }
    }

    pub fn namespace(&self) -> &'static str {
        self.namespace
    }

    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.namespace)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_questions_have_different_keys() {
        let keys = [
            CacheKey::new("page", &[]),
            CacheKey::new("page", &[b""]),
            CacheKey::new("page", &[b"ab"]),
            CacheKey::new("page", &[b"a", b"b"]),
            CacheKey::new("page", &[b"b", b"a"]),
            CacheKey::new("answer", &[b"ab"]),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().map(ToString::to_string).collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
