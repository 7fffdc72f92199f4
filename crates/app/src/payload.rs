//! Putting outputs away: inside the event while small, compressed into a blob when large.

use std::sync::Arc;

use quillwork_domain::payload::{Payload, Sha256Digest};
use serde_json::value::RawValue;

use crate::ports::store::{Blob, LogReader, StoreError};

/// Fast enough to run beside the stages, and most of the gain on text.
const ZSTD_LEVEL: i32 = 3;

/// Turns a stage's output into what its event holds, and the blob that must be committed with it.
pub fn pack(json: Box<RawValue>) -> Result<(Payload, Option<Blob>), std::io::Error> {
    match Payload::inline(json) {
        Ok(payload) => Ok((payload, None)),
        Err(json) => {
            let bytes = json.get().as_bytes();
            let blob = Blob {
                sha256: Sha256Digest::of(bytes),
                bytes: bytes.len() as u64,
                zstd: zstd::bulk::compress(bytes, ZSTD_LEVEL)?,
            };
            Ok((Payload::blob(&json), Some(blob)))
        }
    }
}

/// An output that is referred to and cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MissingOutput {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("blob {0} is missing from the store")]
    Absent(Sha256Digest),
    #[error("blob {0} does not hold JSON with that digest")]
    Damaged(Sha256Digest),
}

/// The JSON that a payload stands for.
pub async fn unpack(reader: &dyn LogReader, payload: &Payload) -> Result<Arc<RawValue>, MissingOutput> {
    match payload {
        Payload::Inline(json) => Ok(json.clone()),
        Payload::Blob(blob) => {
            let bytes = reader.blob(blob.sha256).await?.ok_or(MissingOutput::Absent(blob.sha256))?;
            if Sha256Digest::of(&bytes) != blob.sha256 {
                return Err(MissingOutput::Damaged(blob.sha256));
            }
            let json = serde_json::from_slice::<Box<RawValue>>(&bytes)
                .map_err(|_| MissingOutput::Damaged(blob.sha256))?;
            Ok(json.into())
        }
    }
}
