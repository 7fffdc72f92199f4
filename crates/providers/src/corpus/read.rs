//! Reads one file of the corpus.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sha2::{Digest, Sha256};

use crate::corpus::decode::{decode, gunzip};
use crate::corpus::document::Document;
use crate::corpus::origin::{Format, Origin};
use crate::corpus::{html, markdown, plain};

/// A file's content, or the reason why it has none.
pub(crate) struct Reading {
    /// Of the bytes of the file; empty if they could not be read.
    pub(crate) sha256: String,
    pub(crate) result: Result<Document, String>,
}

pub(crate) fn read(origin: &Origin, path: &str) -> Reading {
    let bytes = match origin.read(path) {
        Ok(bytes) => bytes,
        Err(reason) => return Reading { sha256: String::new(), result: Err(reason) },
    };
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    // One file that trips a parser must not keep the others from being searched.
    let result = catch_unwind(AssertUnwindSafe(|| parse(path, bytes)))
        .unwrap_or_else(|_| Err("its reader failed".to_owned()));
    Reading { sha256, result }
}

fn parse(path: &str, bytes: Vec<u8>) -> Result<Document, String> {
    let (format, packed) = Format::of(path).ok_or("its name does not say how to read it")?;
    let bytes = if packed { gunzip(&bytes)? } else { bytes };
    let text = decode(&bytes, format == Format::Html, None)?;
    let file_name = path.rsplit('/').next().unwrap_or(path);
    let name = file_name.split('.').next().unwrap_or(file_name);
    Ok(match format {
        Format::Markdown => markdown::read(&text, name),
        Format::Html => html::read(&text, name),
        Format::Plain => plain::read(&text, name),
    })
}
