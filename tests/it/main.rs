//! One binary for all black-box tests.

mod architecture;
mod crash;
mod engine;
