//! Adapters of the storage ports. They speak SQL and decide nothing.

pub mod postgres;
pub mod sqlite;

mod turns;

#[cfg(test)]
mod conformance;
