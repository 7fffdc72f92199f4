//! Several processes on one database, and everything that can happen to them.

mod api;
mod faults;
mod fence;
mod late_result;
mod load;
mod logs;
mod projectors;
mod rolling;
mod storm;
mod tenants;
