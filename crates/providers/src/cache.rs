//! Caches: in memory, in Redis, and the one before the other.

pub mod memory;
pub mod redis;
pub mod tiers;
