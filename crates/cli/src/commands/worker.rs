//! `worker`: only the workers. Any number of them.

use std::collections::BTreeMap;

use crate::cli::Globals;
use crate::commands::serve::{self, Roles};
use crate::config::{Overrides, Settings};
use crate::exit::Usage;
use crate::local::Handlers;
use crate::stages;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Handlers to run, of all if absent.
    #[arg(long, value_name = "HANDLER,…", value_delimiter = ',')]
    stages: Option<Vec<String>>,
    /// How many stages of a handler run at once in this process.
    #[arg(long, value_name = "HANDLER=N,…", value_delimiter = ',')]
    concurrency: Vec<String>,
    /// Folder that research searches; the documentation that comes with the binary if absent.
    #[arg(long, value_name = "DIR")]
    corpus: Option<String>,
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let mut overrides: Overrides =
        args.corpus.map(|folder| ("--corpus", "corpus".into(), folder)).into_iter().collect();
    for (handler, n) in concurrency(&args.concurrency)? {
        overrides.push(("--concurrency", format!("stages.{handler}.concurrency").into(), n.to_string()));
    }
    let config = globals.load_with(overrides)?;
    config.require_shared_store("worker")?;
    let handlers = args.stages.map_or(Handlers::All, Handlers::Only);
    if let Handlers::Only(names) = &handlers {
        check(&config.settings, names)?;
    }
    serve::run(config, Roles { api: false, handlers, projector: false }).await
}

/// Every handler that is named must exist.
fn check(settings: &Settings, names: &[String]) -> Result<(), Usage> {
    let known = stages::names(settings);
    match names.iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Usage(format!(
            "--stages: there is no handler {name:?}; the handlers are: {}",
            known.join(", ")
        ))),
    }
}

/// Reads `HANDLER=N`.
fn concurrency(pairs: &[String]) -> Result<BTreeMap<String, u32>, Usage> {
    let read = |pair: &String| {
        let (name, n) = pair.split_once('=')?;
        let n: u32 = n.parse().ok().filter(|n| *n > 0)?;
        Some((name.to_owned(), n))
    };
    let wrong = |pair: &String| {
        Usage(format!(
            "--concurrency: expected HANDLER=N with N of at least 1, such as research=10, got {pair:?}"
        ))
    };
    pairs.iter().map(|pair| read(pair).ok_or_else(|| wrong(pair))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concurrency_is_a_name_and_a_number() {
        let pairs = ["research=10".to_owned(), "echo=1".to_owned()];
        let expected = BTreeMap::from([("research".to_owned(), 10), ("echo".to_owned(), 1)]);
        assert_eq!(concurrency(&pairs).unwrap(), expected);
        for bad in ["research", "research=", "research=0", "research=-1", "research=x"] {
            let error = concurrency(&[bad.to_owned()]).unwrap_err().0;
            assert!(error.contains(bad), "{error}");
        }
    }
}
