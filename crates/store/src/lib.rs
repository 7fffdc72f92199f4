//! Adapters of the storage ports. They speak SQL and decide nothing.

pub mod sqlite;

#[cfg(test)]
mod conformance;
