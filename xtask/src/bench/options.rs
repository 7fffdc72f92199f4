//! What to measure, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// What the developer asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// A minute or two, for trying.
    pub(super) quick: bool,
    /// The one store to measure; None for both.
    pub(super) only: Option<Only>,
    /// So many jobs are stored in PostgreSQL to see what a large store costs.
    pub(super) stored: Option<u64>,
    /// Where the figures go as JSON, besides the page.
    pub(super) json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Only {
    Sqlite,
    Postgres,
}

impl Options {
    pub(super) fn read(args: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            match flag.as_str() {
                "--quick" => options.quick = true,
                "--only" => {
                    options.only = Some(match args.next().map(String::as_str) {
                        Some("sqlite") => Only::Sqlite,
                        Some("postgres") => Only::Postgres,
                        Some(_) | None => bail!("--only needs sqlite or postgres"),
                    });
                }
                "--stored" => {
                    let jobs = args.next().and_then(|jobs| jobs.parse().ok()).filter(|jobs| *jobs > 0);
                    options.stored = Some(jobs.context("--stored needs a number of jobs")?);
                }
                "--json" => options.json = Some(args.next().context("--json needs a file")?.into()),
                other => bail!(
                    "unknown argument {other:?}; expected --quick, --only sqlite|postgres, --stored JOBS or --json FILE"
                ),
            }
        }
        if options.stored.is_some() && !options.postgres() {
            bail!("--stored is about PostgreSQL, and --only sqlite leaves it out");
        }
        Ok(options)
    }

    pub(super) fn sqlite(&self) -> bool {
        self.only != Some(Only::Postgres)
    }

    pub(super) fn postgres(&self) -> bool {
        self.only != Some(Only::Sqlite)
    }

    /// Only a whole run may replace what is published.
    pub(super) fn is_whole(&self) -> bool {
        !self.quick && self.only.is_none()
    }

    /// How much of everything.
    pub(super) fn extent(&self) -> Extent {
        if self.quick {
            Extent {
                run: Duration::from_secs(1),
                low_rate: Duration::from_secs(4),
                raw: Duration::from_secs(1),
                repeats: 1,
                connections: &[1, 16, 64],
                fractions: &[0.25, 0.75],
            }
        } else {
            Extent {
                run: Duration::from_secs(6),
                low_rate: Duration::from_secs(15),
                raw: Duration::from_secs(3),
                repeats: 3,
                connections: &[1, 4, 16, 64, 256],
                fractions: &[0.1, 0.25, 0.5, 0.75, 0.9],
            }
        }
    }
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// About how long one run takes.
    pub(super) run: Duration,
    /// How long jobs come at the lowest rate, of which few make a percentile.
    pub(super) low_rate: Duration,
    /// How long each raw limit of PostgreSQL is measured.
    pub(super) raw: Duration,
    /// How often what the targets are about is measured.
    pub(super) repeats: usize,
    /// Connections that submit single jobs.
    pub(super) connections: &'static [u32],
    /// Rates, as parts of what the store takes at most.
    pub(super) fractions: &'static [f64],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options> {
        Options::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        assert_eq!(read("").unwrap(), Options::default());
        let options = read("--quick --only postgres --stored 100 --json f.json").unwrap();
        let expected = Options {
            quick: true,
            only: Some(Only::Postgres),
            stored: Some(100),
            json: Some("f.json".into()),
        };
        assert_eq!(options, expected);
        assert!(options.postgres() && !options.sqlite());
        for wrong in [
            "--only",
            "--only redis",
            "--json",
            "--slow",
            "--stored",
            "--stored 0",
            "--stored 9 --only sqlite",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_whole_run_is_published() {
        assert!(read("--json f.json").unwrap().is_whole());
        assert!(!read("--quick").unwrap().is_whole());
        assert!(!read("--only sqlite").unwrap().is_whole());
    }
}
