//! The application layer: what happens between the pure core and the outside world.
//!
//! [`engine`] is the only writer of events in a process. [`feed`] is how everyone else learns of them, and
//! [`follow`](mod@follow) how they learn of what other processes write. [`ports`] are
//! the edges of the process, and [`catalog`] is what clients may ask for.

pub mod address;
pub mod archive;
pub mod audit;
pub mod budgets;
pub mod catalog;
pub mod clock;
pub mod draft;
pub mod engine;
pub mod feed;
pub mod follow;
pub mod gcra;
pub mod payload;
pub mod ports;
pub mod progress;
pub mod views;
