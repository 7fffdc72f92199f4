//! One binary for all black-box tests.

mod architecture;
mod article;
mod crash;
mod engine;
mod kill;
mod service;
