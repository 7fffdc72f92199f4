//! Read models over histories that the domain itself decided.

mod archive;
mod content;
mod filling;
mod fold;
pub(crate) mod history;
mod list;
mod log;
mod lookup;
mod place;
mod projector;
mod queries;
mod queues;
mod rebuild;
mod recovery;
mod turns;
mod usage;
