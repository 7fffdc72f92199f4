mod log;
mod openapi;
mod problems;
mod server;
mod service;
