//! Adapters of the outside world: where passages come from, what turns them into an article, and what processes share.
//!
//! [`corpus::Corpus`] searches a folder of documents, or the documentation that is built into the binary.
//! [`extractive::Extractive`] writes a digest of quoted sentences without a language model.
//! Both answer the same input with the same output, always.
//!
//! [`rate_limit`] and [`cache`] work in one process, or for all that have the same [`redis_server::RedisServer`]. A
//! Redis that is away costs what is shared, never the work.

pub mod cache;
pub mod corpus;
pub mod extractive;
pub mod rate_limit;
pub mod redis_server;

mod sentence;
mod watch;
mod words;
