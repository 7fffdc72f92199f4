//! `audit export`: the log as NDJSON, for other eyes and other tools.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use quillwork_domain::export::ExportedEvent;
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
    let head = reader.head().await?;
    let mut sink = Sink::open(args.out)?;
    let mut position = Position(args.after);
    // Up to the head of this moment: an export of a busy log must end.
    while position < head.position {
        let page = reader.read_all(position, PAGE).await.context("the export stopped; it is not complete")?;
        let Some(last) = page.last() else { break };
        position = last.position;
        let mut lines = String::new();
        for event in page.iter().filter(|event| event.position <= head.position) {
            lines.push_str(&ExportedEvent::new(event)?.to_line()?);
            lines.push('\n');
        }
        sink.write(&lines)?;
    }
    sink.close()?;
    let exported = head.position.0.saturating_sub(args.after);
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
