//! Brings the index up to date with the files.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quillwork_app::ports::provider::ProviderError;
use quillwork_app::ports::search::Skipped;
use tantivy::{IndexWriter, TantivyDocument, Term};

use crate::corpus::index::{PassageIndex, Snapshot};
use crate::corpus::manifest::{Content, Entry, Manifest};
use crate::corpus::origin::{Listing, Origin, Stamp};
use crate::corpus::read::{Reading, read};
use crate::watch::Watch;

/// What the writer may hold in memory before it writes a segment.
const WRITER_MEMORY: usize = 32 * 1024 * 1024;

/// After so many files the work is committed: a kill loses no more.
const FILES_PER_COMMIT: usize = 2000;

/// Readers run in parallel; more of them than this would only hold more text in memory.
const MOST_READERS: usize = 8;

/// How often to look whether another process is done with the index.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// How long to wait for another process, which may be indexing the same corpus.
const LOCK_PATIENCE: Duration = Duration::from_secs(600);

/// The state that a search reads, and what could not be listed.
#[derive(Clone)]
pub(crate) struct Fresh {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) unlisted: Vec<Skipped>,
}

/// Compares the files with the index and indexes what changed. Blocks.
///
/// # Errors
/// Permanent if there is nothing to search, transient if the index cannot be written.
pub(crate) fn refresh(
    origin: &Origin,
    index_dir: &Path,
    current: Option<Fresh>,
    watch: &Watch,
) -> Result<Fresh, ProviderError> {
    let listing = origin.list()?;
    if listing.files.is_empty() {
        let Origin::Folder(folder) = origin else {
            return Err(ProviderError::permanent(
                "this binary has no documentation built in; name a folder with --corpus",
            ));
        };
        return Err(ProviderError::permanent(format!(
            "no md, html or txt file in the corpus folder {}; put documents there, or name another folder with --corpus",
            folder.display()
        )));
    }
    if let Some(current) = current
        && changes(&current.snapshot.manifest, &listing).is_empty()
    {
        return Ok(Fresh { unlisted: listing.skipped, ..current });
    }

    let folder = index_dir.join(origin.key()?);
    let _lock = lock(&folder, watch)?;
    let failed = |error: &dyn std::fmt::Display| {
        ProviderError::transient(format!("cannot index the corpus in {}: {error}", folder.display()))
    };
    let mut index = PassageIndex::open(&folder).map_err(ProviderError::transient)?;
    let changes = changes(&index.manifest, &listing);
    if !changes.is_empty() || index.commit.is_none() {
        apply(origin, &mut index, &changes, watch).map_err(|error| failed(&error))?;
    }
    if watch.is_cancelled() {
        return Err(ProviderError::transient("indexing was cancelled; what is indexed is kept"));
    }
    let snapshot = index.snapshot().map_err(|error| failed(&error))?;
    Ok(Fresh { snapshot: Arc::new(snapshot), unlisted: listing.skipped })
}

#[derive(Debug, Default)]
struct Changes {
    /// New, or with another stamp than the index knows.
    touched: Vec<(String, Stamp)>,
    removed: Vec<String>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.removed.is_empty()
    }
}

fn changes(manifest: &Manifest, listing: &Listing) -> Changes {
    let is_current =
        |path: &String, stamp| manifest.files.get(path).is_some_and(|entry| entry.is_current(stamp));
    let touched = listing.files.iter().filter(|(path, stamp)| !is_current(path, stamp)).cloned().collect();
    let listed: BTreeSet<&String> = listing.files.iter().map(|(path, _)| path).collect();
    let removed = manifest.files.keys().filter(|path| !listed.contains(path)).cloned().collect();
    Changes { touched, removed }
}

/// One process at a time; the lock ends with the process that holds it.
fn lock(folder: &Path, watch: &Watch) -> Result<File, ProviderError> {
    let failed = |error: std::io::Error| {
        ProviderError::transient(format!(
            "cannot lock the corpus index in {}: {error}; check the folder's permissions",
            folder.display()
        ))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let path = folder.join("lock");
    let file = File::options().create(true).write(true).truncate(false).open(path).map_err(failed)?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
            Err(std::fs::TryLockError::WouldBlock) if watch.is_cancelled() || waited >= LOCK_PATIENCE => {
                return Err(ProviderError::transient(format!(
                    "another process is writing the corpus index in {}; wait until it is done",
                    folder.display()
                )));
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                std::thread::sleep(LOCK_POLL);
                waited += LOCK_POLL;
            }
        }
    }
}

fn apply(origin: &Origin, index: &mut PassageIndex, changes: &Changes, watch: &Watch) -> tantivy::Result<()> {
    let mut writer = None;
    let total = changes.touched.len();
    for path in &changes.removed {
        forget(index, writer_of(&mut writer, index)?, path);
        index.manifest.files.remove(path);
    }
    for (n, files) in changes.touched.chunks(FILES_PER_COMMIT).enumerate() {
        apply_files(origin, index, &mut writer, files, &|done| {
            watch.report(n * FILES_PER_COMMIT + done, total);
            !watch.is_cancelled()
        })?;
        commit(index, &mut writer)?;
        if watch.is_cancelled() {
            break;
        }
    }
    commit(index, &mut writer)?;
    // Merges that began are finished, then the writer and its memory are gone.
    writer.map_or(Ok(()), IndexWriter::wait_merging_threads)
}

fn commit(index: &mut PassageIndex, writer: &mut Option<IndexWriter>) -> tantivy::Result<()> {
    match writer {
        Some(writer) => index.commit(writer),
        None if index.commit.is_none() => index.commit(writer_of(writer, index)?),
        None => Ok(index.save_manifest()?),
    }
}

/// Reads files in parallel, and gives them to the index as they come.
fn apply_files(
    origin: &Origin,
    index: &mut PassageIndex,
    writer: &mut Option<IndexWriter>,
    files: &[(String, Stamp)],
    go_on: &dyn Fn(usize) -> bool,
) -> tantivy::Result<()> {
    let n_readers =
        std::thread::available_parallelism().map_or(1, usize::from).min(MOST_READERS).min(files.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // The bound keeps the readers from running ahead of the index.
        let (sender, receiver) = mpsc::sync_channel(n_readers * 2);
        for _ in 0..n_readers {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some((path, stamp)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let read_at = now();
                    if sender.send((path, stamp, read_at, read(origin, path))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (n, (path, stamp, read_at, reading)) in receiver.into_iter().enumerate() {
            if !go_on(n) {
                break;
            }
            take(index, writer, path, stamp, read_at, reading)?;
        }
        Ok(())
    })
}

fn take(
    index: &mut PassageIndex,
    writer: &mut Option<IndexWriter>,
    path: &str,
    stamp: &Stamp,
    read_at: i64,
    reading: Reading,
) -> tantivy::Result<()> {
    let Reading { sha256, result } = reading;
    if let Some(known) = index.manifest.files.get_mut(path)
        && known.sha256 == sha256
        && !sha256.is_empty()
    {
        (known.stamp, known.read_at) = (stamp.clone(), read_at);
        return Ok(());
    }
    forget(index, writer_of(writer, index)?, path);
    let content = match result {
        Err(reason) => Content::Skipped { reason },
        Ok(document) => {
            let id = index.manifest.next_id;
            index.manifest.next_id += 1;
            let writer = writer_of(writer, index)?;
            let fields = index.fields;
            for (ordinal, passage) in (0u64..).zip(&document.passages) {
                let mut stored = TantivyDocument::default();
                stored.add_u64(fields.document, id);
                stored.add_u64(fields.ordinal, ordinal);
                stored.add_text(fields.title, &document.title);
                stored.add_text(fields.heading, &passage.heading);
                stored.add_text(fields.text, &passage.text);
                stored.add_u64(fields.first_line, u64::from(passage.lines[0]));
                stored.add_u64(fields.last_line, u64::from(passage.lines[1]));
                writer.add_document(stored)?;
            }
            Content::Document { id, title: document.title, passages: document.passages.len() as u64 }
        }
    };
    index.manifest.files.insert(path.to_owned(), Entry { stamp: stamp.clone(), read_at, sha256, content });
    Ok(())
}

/// Removes the passages that the index holds of a file.
fn forget(index: &PassageIndex, writer: &IndexWriter, path: &str) {
    if let Some(Entry { content: Content::Document { id, .. }, .. }) = index.manifest.files.get(path) {
        writer.delete_term(Term::from_field_u64(index.fields.document, *id));
    }
}

/// Opens the writer when the first change needs it.
fn writer_of<'a>(
    writer: &'a mut Option<IndexWriter>,
    index: &PassageIndex,
) -> tantivy::Result<&'a mut IndexWriter> {
    let opened = match writer.take() {
        Some(opened) => opened,
        None => index.index.writer_with_num_threads(1, WRITER_MEMORY)?,
    };
    Ok(writer.insert(opened))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
