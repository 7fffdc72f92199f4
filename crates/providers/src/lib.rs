//! Adapters of the outside world: where passages come from, and what turns them into an article.
//!
//! [`corpus::Corpus`] searches a folder of documents, or the documentation that is built into the binary.
//! [`extractive::Extractive`] writes a digest of quoted sentences without a language model.
//! Both answer the same input with the same output, always.

pub mod corpus;
pub mod extractive;

mod sentence;
mod watch;
mod words;
