//! `audit export`: the log as NDJSON, for other eyes and other tools.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use quillwork_app::audit::runs_between;
use quillwork_domain::export::Line;
use quillwork_domain::id::Position;

use super::Damaged;
use crate::cli::Globals;
use crate::output;

/// Events read at a time.
const PAGE: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write to a file; absent for standard output.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only events after this position.
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
}

pub(super) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let settings = globals.load()?.settings;
    let log = match super::open_log(&settings).await? {
        Ok(log) => log,
        Err(Damaged(message)) => anyhow::bail!("cannot open the log: {message}"),
    };
    let reader = &log.reader;
    let mut head = reader.head().await?;
    let mut sink = Sink::open(args.out)?;
    let mut position = Position(args.after);
    let mut exported = 0_u64;
    // Up to the head of this moment: an export of a busy log must end.
    while position < head.position {
        let page = reader.read_all(position, PAGE).await.context("the export stopped; it is not complete")?;
        if page.is_empty() {
            break;
        }
        let mut lines = String::new();
        for event in page {
            if event.position > position.next() {
                let holes = runs_between(reader.as_ref(), position.next(), event.position).await?;
                anyhow::ensure!(
                    holes.first().is_none_or(|hole| hole.first > position || position.0 == args.after),
                    "jobs were archived where the export was; it is not complete: run it again"
                );
                for hole in holes {
                    lines.push_str(&Line::Hole(hole).write()?);
                    lines.push('\n');
                }
                // The events that tell of these holes may be later than the head was.
                head = reader.head().await?;
            }
            position = event.position;
            if position > head.position {
                break;
            }
            lines.push_str(&Line::Event(event).write()?);
            lines.push('\n');
            exported += 1;
        }
        sink.write(&lines)?;
    }
    sink.close()?;
    output::note(&format!("{exported} events exported; head {} {}", head.position, head.hash));
    Ok(0)
}

/// Where the export goes.
enum Sink {
    Stdout,
    File(PathBuf, BufWriter<File>),
}

impl Sink {
    fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self::File(path, BufWriter::new(file)))
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        match self {
            Self::Stdout => output::write(text),
            Self::File(path, file) => {
                file.write_all(text.as_bytes()).with_context(|| format!("cannot write to {}", path.display()))
            }
        }
    }

    /// An export that is reported as done is on disk.
    fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(path, mut file) => file
                .flush()
                .and_then(|()| file.get_ref().sync_all())
                .with_context(|| format!("cannot write to {}", path.display())),
        }
    }
}
