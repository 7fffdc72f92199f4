//! Adapters of the outside world: where passages come from, what turns them into an article, and what processes share.
//!
//! [`corpus::Corpus`] searches a folder of documents, or the documentation that is built into the binary.
//! [`extractive::Extractive`] writes a digest of quoted sentences without a language model.
//! Both answer the same input with the same output, always.
//! [`web_search`] finds pages of the web, which somebody else reads.
//!
//! [`fetch::WebFetcher`] reads pages of the web.
//!
//! [`remote::HttpService`] lets a service of the user do a stage.
//!
//! [`rate_limit`] and [`cache`] work in one process, or for all that have the same [`redis_server::RedisServer`]. A
//! Redis that is away costs what is shared, never the work.
//!
//! [`llm`] asks language models, and [`resilience`] stands between our calls and providers that fail, hang or ask for patience.

pub mod cache;
pub mod corpus;
pub mod draft_relay;
pub mod extractive;
pub mod fetch;
pub mod http_client;
pub mod llm;
pub mod rate_limit;
pub mod redis_server;
pub mod remote;
pub mod resilience;
pub mod secret;
pub mod web_search;

mod watch;
