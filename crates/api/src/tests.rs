mod log;
mod openapi;
mod problems;
mod queues;
mod rolling;
mod server;
mod service;
mod tenants;
