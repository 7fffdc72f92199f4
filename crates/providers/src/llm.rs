//! Language models: two dialects over HTTP, and the choice among several of them.
//!
//! [`Balancer`] is the port's one adapter. It holds endpoints, each a model behind an address with a guard of its own,
//! chooses one for each call and moves on to the next where that makes sense.

mod answer;
mod anthropic;
mod balancer;
mod choose;
mod config;
mod endpoint;
mod openai;
mod piece;
mod price;
mod rate_state;
mod refusal;
mod stream;
mod wait;

pub use balancer::Balancer;
pub use config::{Dialect, EndpointConfig, InvalidEndpoint, OpenAiOptions, Timeouts};
pub use price::{Price, PriceTable};
