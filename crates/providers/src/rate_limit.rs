//! Rate limiters: for one process, and for all that share a Redis.

pub mod memory;
pub mod redis;
