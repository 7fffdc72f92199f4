//! Keeping answers that cost time or money to get again.
//!
//! Later providers will keep fetched pages and answers of language models here; until then only the adapters' tests
//! use this port.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Larger values are not stored.
pub const MAX_VALUE_BYTES: usize = 8 * 1024 * 1024;

/// A longer time to live is cut to this.
pub const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Keeps values for a while. It may forget any of them at any time.
///
/// It cannot fail: what cannot be read is a miss, and what cannot be stored is not there the next time.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// The value that was last put, if it is still there.
    async fn get(&self, key: &CacheKey) -> Option<Bytes>;

    /// Replaces the value. A value over [`MAX_VALUE_BYTES`], or one with less than a millisecond to live, leaves no
    /// value behind.
    async fn put(&self, key: &CacheKey, value: Bytes, ttl: Duration);

    /// Removes the value where it can be reached. What must never be read again needs another key instead.
    async fn remove(&self, key: &CacheKey);
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
