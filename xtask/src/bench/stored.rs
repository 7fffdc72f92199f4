//! Throughput with many finished jobs in the store, against that of an empty one.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use quillwork_test_servers::Postgres;

use super::figures::{Runs, Stored};
use super::generator::{self, Order};
use super::measure::Stand;
use super::server::Server;
use super::store::closed_loop;
use super::targets::CONNECTIONS;
use crate::report;

/// How often each store is measured, in turns, and for about how long, also by a run that is short: pages that were just
/// written, and are read for the first time, make the first seconds slow.
const REPEATS: usize = 3;
const SECONDS: f64 = 6.0;

/// Measures an empty store and one with so many jobs in turns.
pub(super) fn measure(binary: &Path, postgres: &Postgres, n_jobs: u64) -> Result<Stored> {
    let began = Instant::now();
    let mut stand = Stand::new(binary, Some(postgres), &["up"])?;
    let real = Order { jobs: 100, clients: 10, batch: 1, rate: None };
    generator::jobs(binary, stand.url()?, &real)?;
    stand.processes.drain(..).try_for_each(Server::terminate)?;
    let database = stand.place.database().context("the store is no database")?;
    for sql in fill(n_jobs) {
        postgres.psql(database, &sql);
    }
    report(&format!("{n_jobs} jobs stored in {:.1} minutes", began.elapsed().as_secs_f64() / 60.0));
    stand.processes.push(Server::start(binary, "up", &stand.place.args(0))?);
    let (mut empty, mut filled) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let new = Stand::new(binary, Some(postgres), &["up"])?;
        for (stand, runs) in [(&new, &mut empty), (&stand, &mut filled)] {
            runs.push(stand.run(&closed_loop(stand, CONNECTIONS, 1, SECONDS)?)?);
        }
        let last = |runs: &[super::figures::JobRun]| runs.last().map_or(0.0, |run| run.jobs.jobs_per_second);
        report(&format!("empty {:.0} jobs/s, filled {:.0} jobs/s", last(&empty), last(&filled)));
    }
    let runs = |runs| Runs::new(runs).context("nothing is to be measured");
    Ok(Stored { jobs: n_jobs, empty: runs(empty)?, filled: runs(filled)? })
}

/// Jobs that ran at the same time.
const LANES: u64 = 64;

/// Copies the last job so many times, with everything that is stored of it: as old jobs, whose ids are smaller than
/// those of new ones, and as many at a time as really run. Of jobs one after the other each page of the log would have
/// the same room at its end, where new events would go. Nobody may have the store open. The hashes of the copies are no
/// chain.
fn fill(n_jobs: u64) -> [String; 4] {
    // As a UUID v7 of long ago, in the order of the numbers.
    let id = |number: &str| format!("(lpad(to_hex({number}), 12, '0') || '70008000000000000000')::uuid");
    let (job, event) = (id("c.g"), id("c.g * 8 + e.version"));
    let log = format!(
        "CREATE TEMP TABLE model AS
           SELECT * FROM quillwork.events WHERE stream = (SELECT stream FROM quillwork.events ORDER BY position DESC LIMIT 1);
         ANALYZE model;
         INSERT INTO quillwork.events
           (position, stream, version, event_id, kind, schema_version, data, meta, recorded_at, hash)
         SELECT h.position + r + 1, {job}, e.version, {event}, e.kind, e.schema_version, e.data, e.meta,
           e.recorded_at, e.hash
         FROM quillwork.head h, (SELECT count(*) AS n FROM model) n, generate_series(0, {n_jobs} * n.n - 1) r,
           LATERAL (SELECT r / ({LANES} * n.n) AS block) b,
           LATERAL (SELECT least({LANES}, {n_jobs} - b.block * {LANES}) AS lanes, r % ({LANES} * n.n) AS at) w,
           LATERAL (SELECT b.block * {LANES} + w.at % w.lanes + 1 AS g, w.at / w.lanes + 1 AS version) c
           JOIN model e ON e.version = c.version;
         UPDATE quillwork.head SET position = last.position, hash = last.hash
         FROM (SELECT position, hash FROM quillwork.events ORDER BY position DESC LIMIT 1) last;"
    );
    // The newest schema of the read models, of which there is one.
    let job = id("g");
    let read_models = format!(
        "SELECT set_config('search_path', (SELECT max(nspname) FROM pg_namespace WHERE nspname LIKE 'quillwork_read_v%'), false);
         CREATE TEMP TABLE model AS SELECT * FROM job_summary ORDER BY submitted_position DESC LIMIT 1;
         CREATE TEMP TABLE model_timeline AS
           SELECT t.* FROM job_timeline t JOIN model m USING (submitted_position);
         CREATE TEMP TABLE begins AS
           SELECT g, h.position - {n_jobs} * n.n + (g - 1) / {LANES} * {LANES} * n.n + (g - 1) % {LANES} + 1 AS at
           FROM quillwork.head h, generate_series(1, {n_jobs}) g,
             (SELECT count(*) AS n FROM quillwork.events e JOIN model m ON m.id = e.stream) n;
         INSERT INTO job_summary (submitted_position, due_at, finished_at, id, status, pipeline, tenant, topic, search, details)
         SELECT b.at, due_at, finished_at, {job}, status, pipeline, tenant, topic, search, details
         FROM model, begins b ORDER BY b.at;
         INSERT INTO job_timeline (submitted_position, started_at, finished_at, retry_at, stage_index, attempt, outcome, worker,
                                   class, error)
         SELECT b.at, started_at, finished_at, retry_at, stage_index, attempt, outcome, worker, class, error
         FROM begins b, model_timeline ORDER BY b.at;
         UPDATE checkpoint SET position = h.position, hash = encode(h.hash, 'hex') FROM quillwork.head h;"
    );
    // What is written down now is not written during the measurement.
    [log, read_models, "VACUUM ANALYZE".to_owned(), "CHECKPOINT".to_owned()]
}
