//! What a job may cost, in counts: they are the same on every machine, and times are not.
//!
//! A job here has two stages that return a kilobyte each. `cargo test -p quillwork-tests --test it counts -- --nocapture`
//! prints what is measured; `docs/hot-path.md` says what it is spent on.

mod allocations;
mod commits;
mod statements;
mod workload;

/// What one job may cost on a store, about a tenth above what was measured last, and the files where it is spent. Under
/// full load it depends on who is faster how full a commit is, so that commits, calls and statements have twice the room.
///
/// A change that raises a number here must say in its commit message what is bought with it. One that makes a cost fall
/// lowers its number.
const LIMITS: &[(&str, &str, f64, &str)] = &[
    ("store calls of a lone job", "sqlite", 3.3, "app/src/engine/turn.rs"),
    ("store calls of a lone job", "postgres", 3.5, "app/src/engine/turn.rs"),
    ("event commits under full load", "sqlite", 0.05, "app/src/engine/run.rs"),
    ("event commits under full load", "postgres", 0.05, "app/src/engine/run.rs"),
    ("store calls under full load", "sqlite", 0.09, "app/src/engine/turn.rs"),
    ("store calls under full load", "postgres", 0.09, "app/src/engine/turn.rs"),
    ("statements of a lone job", "postgres", 3.5, "store/src/postgres/writer.rs"),
    ("statements under full load", "postgres", 0.09, "store/src/postgres/writer.rs"),
    ("bytes of log", "sqlite", 4_600.0, "domain/src/wire.rs, migrations/sqlite/log"),
    ("bytes of log", "postgres", 4_850.0, "domain/src/wire.rs, migrations/postgres/log"),
    ("bytes of write-ahead log", "postgres", 6_900.0, "store/src/postgres/commit.rs"),
    ("allocations of a job in engine and worker", "sqlite", 105.0, "app/src/engine/plan_batch.rs"),
    ("allocations of a submission over HTTP", "sqlite", 92.0, "api/src/jobs/submit.rs"),
];

/// Holds what was measured against its limit.
#[expect(clippy::print_stdout, reason = "the figures are wanted for the limits and for docs/hot-path.md")]
#[track_caller]
fn check(cost: &str, store: &str, measured: f64) {
    let limit = LIMITS.iter().find(|limit| (limit.0, limit.1) == (cost, store));
    let (_, _, at_most, look_at) = limit.unwrap_or_else(|| panic!("{cost}, {store}: no such limit"));
    println!("{cost}, {store}: {measured:.3} (limit {at_most})");
    assert!(
        measured <= *at_most,
        "{cost}, {store}: {measured:.3}, and the limit is {at_most}. Look at {look_at}. \
         Who raises a limit in tests/it/counts.rs says what it buys."
    );
}
