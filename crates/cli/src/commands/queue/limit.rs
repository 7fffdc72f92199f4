//! `queue limit`: bound how many stages of a handler run at once, over all processes.

use std::num::NonZeroU32;

use super::QueueArgs;
use super::view::print_controlled;
use crate::cli::Globals;
use crate::client::Server;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    queue: QueueArgs,
    /// How many; `none` lifts the limit.
    #[arg(value_name = "N|none", value_parser = parse_limit)]
    max_running: Limit,
}

/// None for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit(Option<NonZeroU32>);

pub(super) async fn run(globals: &Globals, server: &Server, args: &Args) -> anyhow::Result<u8> {
    let url = server.url(&["v1", "queues", &args.queue.handler, "limit"]);
    let body = serde_json::json!({ "max_running": args.max_running.0 });
    let answer = server.call(|http| http.put(url.clone()).json(&body)).await?;
    print_controlled(globals, answer).await?;
    Ok(0)
}

fn parse_limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    text.parse().map(|n| Limit(Some(n))).map_err(|_| "expected a number from 1, or none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_none() {
        assert_eq!(parse_limit("none"), Ok(Limit(None)));
        assert_eq!(parse_limit("3"), Ok(Limit(NonZeroU32::new(3))));
        for bad in ["0", "-1", "1.5", "", "None"] {
            assert!(parse_limit(bad).is_err(), "{bad}");
        }
    }
}
