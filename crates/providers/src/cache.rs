//! Caches, and what asks them before it asks the outside world.
//!
//! [`memory`] and [`redis`] hold values, and [`tiers`] puts one before the other; the store has a third.
//! [`search`], [`fetch`] and [`model`] wrap what costs time or money, with [`answers`] in common.

pub mod answers;
pub mod fetch;
mod fleet_lock;
mod flights;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod redis;
pub mod search;
pub mod tiers;

/// The namespaces of all values, with the version of their shape: for the start of a process.
pub const NAMESPACES: [&str; 3] = [search::NAMESPACE, fetch::NAMESPACE, model::NAMESPACE];
