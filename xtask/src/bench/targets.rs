//! What we want to reach, and whether this run did.

use super::figures::{Figures, Fleet, Runs, Store, StoreFigures, Stored};
use super::fleet::FLEETS;
use super::number::{Rounding, whole};
use super::page::table;

/// Connections of the targets for single submissions.
pub(super) const CONNECTIONS: u32 = 64;

/// Jobs of the target for a large store.
const MANY_JOBS: u64 = 5_000_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// A goal and what was measured; None if this run did not measure it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) what: String,
    pub(super) goal: Goal,
    pub(super) unit: &'static str,
    pub(super) measured: Option<f64>,
}

impl Goal {
    fn is_met(self, measured: f64) -> bool {
        match self {
            Self::AtLeast(goal) => measured >= goal,
            Self::AtMost(goal) => measured <= goal,
        }
    }

    fn rounding(self) -> Rounding {
        match self {
            Self::AtLeast(_) => Rounding::Down,
            Self::AtMost(_) => Rounding::Up,
        }
    }

    fn show(self) -> String {
        let number = |goal: f64| if goal.fract() == 0.0 { whole(goal) } else { goal.to_string() };
        match self {
            Self::AtLeast(goal) => format!("≥ {}", number(goal)),
            Self::AtMost(goal) => format!("≤ {}", number(goal)),
        }
    }
}

impl Target {
    fn row(&self) -> Vec<String> {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let (measured, verdict) = match self.measured {
            None => ("not measured by this run".to_owned(), "–"),
            Some(measured) => (
                format!("{}{unit}", self.goal.rounding().show(measured)),
                if self.goal.is_met(measured) { "met" } else { "**not met**" },
            ),
        };
        vec![self.what.clone(), format!("{}{unit}", self.goal.show()), measured, verdict.to_owned()]
    }
}

/// All targets as a table.
pub(super) fn render(figures: &Figures) -> String {
    let targets = targets(figures);
    table(&["", "target", "measured", ""], targets.iter().map(Target::row).collect())
}

fn targets(figures: &Figures) -> Vec<Target> {
    let mut targets = Vec::new();
    for store in [Store::Sqlite, Store::Postgres] {
        let measured = figures.stores.iter().find(|figures| figures.store == store);
        targets.extend(of_store(store, measured));
    }
    targets.extend(of_fleets(&figures.fleets));
    targets.push(Target {
        what: "Throughput with five million jobs stored, of the empty store's".into(),
        goal: Goal::AtLeast(90.0),
        unit: "%",
        measured: figures.stored.as_ref().filter(|stored| stored.jobs >= MANY_JOBS).map(kept),
    });
    targets
}

/// How much of the empty store's throughput is left.
fn kept(stored: &Stored) -> f64 {
    let rate = |runs: &Runs| runs.median().jobs.jobs_per_second;
    100.0 * rate(&stored.filled) / rate(&stored.empty)
}

/// The same goals for both stores, where they are the same.
fn of_store(store: Store, measured: Option<&StoreFigures>) -> Vec<Target> {
    let pick = |sqlite: f64, postgres: f64| match store {
        Store::Sqlite => sqlite,
        Store::Postgres => postgres,
    };
    let single = measured.and_then(|figures| figures.single(CONNECTIONS)).map(|runs| runs.median());
    let batches = measured.map(|figures| figures.batches.median());
    let low = measured.and_then(|figures| figures.rates.first());
    let queries = measured.map(|figures| &figures.queries);
    let replay = measured.map(|figures| figures.replay);
    let least = |what: &str, goal, unit, measured| (what.to_owned(), Goal::AtLeast(goal), unit, measured);
    let most = |what: &str, goal, unit, measured| (what.to_owned(), Goal::AtMost(goal), unit, measured);
    let mut rows = vec![
        least(
            "single submissions",
            pick(12_000.0, 9_000.0),
            "jobs/s",
            single.map(|run| run.jobs.jobs_per_second),
        ),
        least(
            "batches of 100",
            pick(18_000.0, 12_000.0),
            "jobs/s",
            batches.map(|run| run.jobs.jobs_per_second),
        ),
        most(
            "submit to completed at 20 jobs/s, p50",
            pick(3.0, 4.0),
            "ms",
            low.map(|run| run.jobs.end_to_end_ms.p50),
        ),
        most(
            "submit to completed at 20 jobs/s, p99",
            pick(6.0, 10.0),
            "ms",
            low.map(|run| run.jobs.end_to_end_ms.p99),
        ),
        most("submit under full load, p99", pick(15.0, 25.0), "ms", single.map(|run| run.jobs.submit_ms.p99)),
        most(
            "CPU per job, server and database",
            pick(90.0, 130.0),
            "µs",
            single.map(|run| run.cost.cpu_micros()),
        ),
        most("event commits per job under full load", 0.1, "", single.map(|run| run.cost.commits)),
        most("event commits per job at 20 jobs/s", 4.0, "", low.map(|run| run.cost.commits)),
        most("data growth per job", 5_000.0, "bytes", single.map(|run| run.cost.data_bytes)),
        least("replay into a fold", 1_000_000.0, "events/s", replay.map(|replay| replay.fold)),
        least("replay into the read models", 200_000.0, "events/s", replay.map(|replay| replay.read_models)),
        least("status queries", 20_000.0, "/s", queries.map(|queries| queries.idle.queries_per_second)),
        most("status queries, p99", 10.0, "ms", queries.map(|queries| queries.idle.query_ms.p99)),
        least(
            "status queries while jobs run",
            20_000.0,
            "/s",
            queries.map(|queries| queries.busy.queries_per_second),
        ),
        most(
            "status queries while jobs run, p99",
            10.0,
            "ms",
            queries.map(|queries| queries.busy.query_ms.p99),
        ),
    ];
    if store == Store::Sqlite {
        let what = ["memory (PSS), single submissions", "memory (PSS), batches"];
        let runs = [single, batches];
        rows.extend(
            what.iter()
                .zip(runs)
                .map(|(what, run)| most(what, 60.0, "MB", run.map(|run| run.cost.peak_pss_mb))),
        );
    }
    let named = |(what, goal, unit, measured)| Target {
        what: format!("{}: {what}", store.name()),
        goal,
        unit,
        measured,
    };
    rows.into_iter().map(named).collect()
}

/// Each fleet against the first one, which is a single process.
fn of_fleets(fleets: &[Fleet]) -> Vec<Target> {
    let rate = |fleet: &Fleet| fleet.runs.median().jobs.jobs_per_second;
    let alone = fleets.first().map(rate);
    let target = |roles: &&[&str]| {
        let fleet = fleets.iter().find(|fleet| fleet.roles == **roles);
        Target {
            what: format!("PostgreSQL: {} processes ({}), of what one does", roles.len(), roles.join(", ")),
            goal: Goal::AtLeast(100.0),
            unit: "%",
            measured: alone.zip(fleet.map(rate)).map(|(alone, fleet)| 100.0 * fleet / alone),
        }
    };
    FLEETS[1..].iter().map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::figures;
    use super::*;

    #[test]
    fn a_target_is_met_or_not_and_never_by_rounding() {
        let target = |goal, unit, measured| Target { what: "x".into(), goal, unit, measured };
        let rows = [
            target(Goal::AtLeast(12_000.0), "jobs/s", Some(11_999.7)),
            target(Goal::AtMost(6.0), "ms", Some(6.0004)),
            target(Goal::AtMost(0.1), "", Some(0.1)),
            target(Goal::AtLeast(90.0), "%", None),
        ];
        assert_eq!(
            rows.map(|row| row.row().join(" | ")),
            [
                "x | ≥ 12,000 jobs/s | 11,999 jobs/s | **not met**",
                "x | ≤ 6 ms | 6.01 ms | **not met**",
                "x | ≤ 0.1 | 0.100 | met",
                "x | ≥ 90 % | not measured by this run | –",
            ]
        );
    }

    #[test]
    fn every_target_has_its_row() {
        let rendered = render(&figures());
        for row in [
            "| SQLite: single submissions | ≥ 12,000 jobs/s | 12,345 jobs/s | met |",
            "| SQLite: submit under full load, p99 | ≤ 15 ms | 20.0 ms | **not met** |",
            "| SQLite: memory (PSS), single submissions | ≤ 60 MB | 59.9 MB | met |",
            "| PostgreSQL: single submissions | ≥ 9,000 jobs/s | not measured by this run | – |",
            "| PostgreSQL: 2 processes (up, worker), of what one does | ≥ 100 % | 90.0 % | **not met** |",
            "| PostgreSQL: 4 processes (up, worker, worker, worker), of what one does | ≥ 100 % | not measured by this run | – |",
        ] {
            assert!(rendered.contains(row), "{row} is not in:\n{rendered}");
        }
    }
}
