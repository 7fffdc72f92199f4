//! The adapters against real files: one binary, one module per subject.
#![expect(clippy::unwrap_used, reason = "what the tests share asserts by panicking, too")]

mod digest;
mod formats;
mod index;
mod library;
mod properties;
mod relevance;
