//! Several processes on one PostgreSQL.

use std::path::Path;

use anyhow::{Context as _, Result};
use quillwork_test_servers::Postgres;

use super::figures::{Fleet, Runs};
use super::measure::Stand;
use super::options::Extent;
use super::store::closed_loop;
use super::targets::CONNECTIONS;
use crate::report;

/// One process, the same with workers beside it, and the roles apart. The first process of each has the API.
pub(super) const FLEETS: [&[&str]; 4] = [
    &["up"],
    &["up", "worker"],
    &["up", "worker", "worker", "worker"],
    &["api", "worker", "worker", "projector"],
];

/// Each fleet several times, in turns that begin with another one each time, because the speed of a machine drifts. What is
/// compared is measured more often than what stands alone.
pub(super) fn measure(binary: &Path, postgres: &Postgres, extent: Extent) -> Result<Vec<Fleet>> {
    let mut runs = FLEETS.map(|_| Vec::new());
    for turn in 0..extent.repeats * 2 - 1 {
        let mut fleets: Vec<_> = FLEETS.iter().zip(&mut runs).collect();
        fleets.rotate_left(turn % FLEETS.len());
        for (roles, runs) in fleets {
            let stand = Stand::new(binary, Some(postgres), roles)?;
            let order = closed_loop(&stand, CONNECTIONS, 1, extent.run.as_secs_f64())?;
            let run = stand.run(&order)?;
            report(&format!("{}: {:.0} jobs/s", roles.join(", "), run.jobs.jobs_per_second));
            runs.push(run);
        }
    }
    let fleet = |(roles, runs): (&&[&str], Vec<_>)| {
        let runs = Runs::new(runs).context("nothing is to be measured")?;
        Ok(Fleet { roles: roles.iter().map(|role| (*role).to_owned()).collect(), runs })
    };
    FLEETS.iter().zip(runs).map(fleet).collect()
}
