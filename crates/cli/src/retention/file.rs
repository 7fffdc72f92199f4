//! Writing the events of jobs that leave into a file of their own: an export of nothing but them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use quillwork_app::archive::edge_hashes;
use quillwork_app::clock;
use quillwork_app::ports::store::LogReader;
use quillwork_domain::archive::{ArchiveFile, Run, runs};
use quillwork_domain::chain::GENESIS;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::export::{ArchiveInfo, Line};
use quillwork_domain::id::{JobId, Position, Version};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::time::Timestamp;

/// Events of one job read at a time.
const PAGE: usize = 1_000;

/// How hard to compress: archives are written once and seldom read.
const LEVEL: i32 = 9;

/// Writes the events of `jobs` into a new file in `dir`, and returns once they are on disk. Jobs that are not in the log as
/// presumed are taken from `jobs`; None if that leaves nothing to write.
pub(super) async fn write(
    reader: &dyn LogReader,
    jobs: &mut Vec<(JobId, Version)>,
    through: Timestamp,
    dir: &Path,
) -> anyhow::Result<Option<(PathBuf, ArchiveFile)>> {
    let (mut events, mut found) = (Vec::new(), Vec::new());
    for (job, version) in jobs.drain(..) {
        let history = history(reader, job).await?;
        if history.len() as u64 == version.0 {
            events.extend(history);
            found.push((job, version));
        }
    }
    *jobs = found;
    events.sort_unstable_by_key(|event| event.position);
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(None) };
    let now = clock::now().as_millis();
    let name = format!("quillwork-{:012}-{:012}-{now}.ndjson.zst", first.position.0, last.position.0);
    let compressed = compress(reader, &events, through).await?;
    let file = ArchiveFile {
        name: name.clone(),
        sha256: Sha256Digest::of(&compressed),
        bytes: compressed.len() as u64,
        events: events.len() as u64,
    };
    let (dir, path) = (dir.to_owned(), dir.join(name));
    let target = path.clone();
    tokio::task::spawn_blocking(move || store(&dir, &target, &compressed))
        .await
        .context("the writer of the archive ended badly")??;
    Ok(Some((path, file)))
}

async fn history(reader: &dyn LogReader, job: JobId) -> anyhow::Result<Vec<Recorded>> {
    let mut events: Vec<Recorded> = Vec::new();
    loop {
        let after = events.last().map_or(Version(0), |event| event.version);
        let page = reader.stream(job.into(), after, PAGE).await?;
        let whole = page.len() < PAGE;
        events.extend(page);
        if whole {
            return Ok(events);
        }
    }
}

/// The lines of the file: what is missing between the events stands in lines of its own, so that each event can be linked
/// to the one before it.
async fn compress(
    reader: &dyn LogReader,
    events: &[Recorded],
    through: Timestamp,
) -> anyhow::Result<Vec<u8>> {
    let mut out = zstd::Encoder::new(Vec::new(), LEVEL)?;
    let mut line = |line: Line| -> anyhow::Result<()> { Ok(writeln!(out, "{}", line.write()?)?) };
    line(Line::Archive(ArchiveInfo { through }))?;
    let (mut next, mut previous) = (Position(1), GENESIS);
    let mut rest = events;
    let hashes = edge_hashes(reader, events.iter().map(|event| event.position)).await?;
    let runs = runs(events.iter().map(|event| (event.position, event.hash)).collect(), &hashes);
    let missing = |edge| anyhow::anyhow!("the log does not have event {edge}; run `quillwork audit verify`");
    for run in runs.map_err(missing)? {
        if next < run.first {
            let last = Position(run.first.0 - 1);
            line(Line::Hole(Run { first: next, last, before: previous, hash: run.before }))?;
        }
        let n_inside = rest.iter().take_while(|event| event.position <= run.last).count();
        let (inside, behind) = rest.split_at(n_inside);
        for event in inside {
            line(Line::Event(event.clone()))?;
        }
        (next, previous, rest) = (run.last.next(), run.hash, behind);
    }
    Ok(out.finish()?)
}

/// Writes a new file; it and its name are on disk when this returns.
fn store(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // A part of an archive is worse than none.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    File::open(dir)?.sync_all()
}
