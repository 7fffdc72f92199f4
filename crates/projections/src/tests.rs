//! Read models over histories that the domain itself decided.

mod archive;
mod fold;
mod history;
mod list;
mod log;
mod place;
mod projector;
mod queries;
mod queues;
mod rebuild;
mod recovery;
mod turns;
