//! Read models over histories that the domain itself decided.

mod fold;
mod history;
mod log;
mod projector;
mod queries;
mod rebuild;
