//! Data that a stage produced: inside the event while small, a reference to a blob when large.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Payloads over this many bytes of JSON go to a blob.
pub const INLINE_LIMIT: usize = 16 * 1024;

/// SHA-256 of some bytes; written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest(pub [u8; 32]);

impl Sha256Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Appends the 64 hex digits to `out`.
    pub fn write_hex(&self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        out.extend_from_slice(&hex);
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hex digits")]
pub struct NotADigest;

impl FromStr for Sha256Digest {
    type Err = NotADigest;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let mut digest = [0; 32];
        if s.len() != 64 || !s.is_ascii() {
            return Err(NotADigest);
        }
        for (byte, pair) in digest.iter_mut().zip(s.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NotADigest)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotADigest)?;
        }
        Ok(Self(digest))
    }
}

impl Serialize for Sha256Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Names a blob by the digest of its uncompressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    #[serde(rename = "$blob")]
    pub sha256: Sha256Digest,
    /// Uncompressed size.
    pub bytes: u64,
}

/// A JSON value, or where to find it.
///
/// In an event a blob is written as `{"$blob": "<sha256>", "bytes": 12345}`.
#[derive(Clone, Debug)]
pub enum Payload {
    Inline(Arc<RawValue>),
    Blob(BlobRef),
}

impl Payload {
    /// Takes a JSON value inline if it is small and cannot be mistaken for a reference.
    pub fn inline(json: Box<RawValue>) -> Result<Self, Box<RawValue>> {
        if json.get().len() > INLINE_LIMIT || looks_like_blob(json.get()) {
            Err(json)
        } else {
            Ok(Self::Inline(json.into()))
        }
    }

    /// Bytes of JSON inside an event; none of it for a blob.
    pub fn n_bytes(&self) -> usize {
        match self {
            Self::Inline(json) => json.get().len(),
            Self::Blob(_) => 0,
        }
    }

    /// The reference to `json` stored as a blob.
    pub fn blob(json: &RawValue) -> Self {
        let bytes = json.get().as_bytes();
        Self::Blob(BlobRef { sha256: Sha256Digest::of(bytes), bytes: bytes.len() as u64 })
    }
}

fn looks_like_blob(json: &str) -> bool {
    json.trim_start().strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with("\"$blob\""))
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inline(a), Self::Inline(b)) => a.get() == b.get(),
            (Self::Blob(a), Self::Blob(b)) => a == b,
            (Self::Inline(_), Self::Blob(_)) | (Self::Blob(_), Self::Inline(_)) => false,
        }
    }
}

impl Eq for Payload {}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inline(json) => json.serialize(serializer),
            Self::Blob(blob) => blob.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        if looks_like_blob(json.get()) {
            serde_json::from_str(json.get()).map(Self::Blob).map_err(D::Error::custom)
        } else {
            Ok(Self::Inline(json.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    #[test]
    fn small_values_stay_inline_and_round_trip() {
        let payload = Payload::inline(raw(r#"{"a":1}"#)).unwrap();
        let json = serde_json::to_string(&payload).unwrap();
        assert_eq!(json, r#"{"a":1}"#);
        assert_eq!(serde_json::from_str::<Payload>(&json).unwrap(), payload);
    }

    #[test]
    fn large_values_and_lookalikes_become_blobs() {
        for json in [format!("\"{}\"", "x".repeat(INLINE_LIMIT)), r#" { "$blob" : 1}"#.to_owned()] {
            let json = Payload::inline(raw(&json)).unwrap_err();
            let payload = Payload::blob(&json);
            let text = serde_json::to_string(&payload).unwrap();
            assert!(text.starts_with(r#"{"$blob":""#), "{text}");
            assert_eq!(serde_json::from_str::<Payload>(&text).unwrap(), payload);
        }
    }

    #[test]
    fn digests_parse_back() {
        let digest = Sha256Digest::of(b"quillwork");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        let mut hex = Vec::new();
        digest.write_hex(&mut hex);
        assert_eq!(hex, digest.to_string().into_bytes());
        assert_eq!("abc".parse::<Sha256Digest>(), Err(NotADigest));
    }
}
