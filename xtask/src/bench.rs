//! The benchmark: everything that `docs/benchmarks.md` claims, in one run.

mod accounts;
mod build;
mod figures;
mod fleet;
mod generator;
mod machine;
mod measure;
mod number;
mod options;
mod page;
mod place;
mod plot;
mod plots;
mod raw;
mod replay;
mod server;
mod store;
mod stored;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use quillwork_test_servers::Postgres;

use crate::{report, servers};
use accounts::Look;
use figures::{Figures, Store};
use machine::Machine;
use options::Options;
use raw::Raw;
use store::Bench;

/// As `initdb` leaves them; the servers of the tests differ.
const SETTINGS: [(&str, &str); 2] = [("shared_buffers", "128MB"), ("max_connections", "100")];

/// How long is looked at what else the machine does afterwards.
const LOOK: Duration = Duration::from_secs(3);

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::read(args)?;
    machine::require_disk()?;
    if options.postgres() {
        servers::provide(servers::POSTGRES)?;
    }
    let binary = build::release("quillwork", &["--bin"], "quillwork")?;
    let raw_limits = build::release("quillwork-store", &["--example"], "raw_limits")?;
    let postgres = options.postgres().then(|| Postgres::start_with(&SETTINGS));
    let machine = Machine::look(&binary, postgres.as_ref())?;
    report(&format!("before the run other programs keep the cores {:.1} % busy", machine.other_load * 100.0));
    let figures = measure(&options, machine, postgres, &binary, &raw_limits)?;
    write(&options, &figures)
}

fn measure(
    options: &Options,
    machine: Machine,
    postgres: Option<Postgres>,
    binary: &Path,
    raw_limits: &Path,
) -> Result<Figures> {
    let began = Instant::now();
    let look = Look::now()?;
    let extent = options.extent();
    let raw = Raw { program: raw_limits, postgres: postgres.as_ref(), span: extent.raw };
    report("raw limits");
    let before = raw.measure()?;
    let mut stores = Vec::new();
    if options.sqlite() {
        stores.push(Bench { binary, store: Store::Sqlite, postgres: None, extent }.run()?);
    }
    let (mut fleets, mut stored) = (Vec::new(), None);
    if let Some(postgres) = &postgres {
        stores.push(Bench { binary, store: Store::Postgres, postgres: Some(postgres), extent }.run()?);
        fleets = fleet::measure(binary, postgres, extent)?;
        let measure = |jobs| stored::measure(binary, postgres, jobs);
        stored = options.stored.map(measure).transpose()?;
    }
    report("raw limits again");
    let after = raw.measure()?;
    drop(postgres);
    let end = Look::now()?;
    thread::sleep(LOOK);
    Ok(Figures {
        machine,
        quick: options.quick,
        minutes: began.elapsed().as_secs_f64() / 60.0,
        stolen: end.since(&look).stolen,
        other_load_after: Look::now()?.since(&end).busy,
        stores,
        fleets,
        stored,
        raw: raw::pair(before, &after),
    })
}

/// A whole run replaces what is published; another one is put where it does no harm.
fn write(options: &Options, figures: &Figures) -> Result<()> {
    if let Some(file) = &options.json {
        let json = serde_json::to_string_pretty(figures)?;
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").canonicalize()?;
    let to = if options.is_whole() { docs.clone() } else { preview()? };
    let page = fs::read_to_string(docs.join("benchmarks.md")).context("cannot read docs/benchmarks.md")?;
    let page = page::replace(&page, &page::render(figures))?;
    let plots = to.join("benchmarks");
    fs::create_dir_all(&plots).with_context(|| format!("cannot make {}", plots.display()))?;
    for (name, svg) in plots::render(figures) {
        fs::write(plots.join(name), svg).with_context(|| format!("cannot write {name}"))?;
    }
    let file = to.join("benchmarks.md");
    fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    report(&format!("wrote {} after {:.1} minutes", file.display(), figures.minutes));
    if !options.is_whole() {
        report("only a run without --quick and --only replaces docs/benchmarks.md");
    }
    Ok(())
}

/// Beside what cargo builds.
fn preview() -> Result<PathBuf> {
    let program = std::env::current_exe().context("this program has no path")?;
    let target = program.ancestors().nth(2).context("this program is in no target directory")?;
    Ok(target.join("bench"))
}
