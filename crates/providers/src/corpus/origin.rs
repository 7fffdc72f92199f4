//! Where the documents are: a folder, or the documentation inside the binary.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use ignore::WalkBuilder;
use include_dir::{Dir, DirEntry, include_dir};
use quillwork_app::ports::provider::ProviderError;
use quillwork_app::ports::search::Skipped;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::corpus::decode::{LARGEST_FILE, too_large};

static DOCS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../docs");

static EMBEDDED: LazyLock<Listing> = LazyLock::new(list_embedded);

/// Sphinx keeps the source of each page next to the pages; reading both would cite everything twice.
const DUPLICATES: &str = "_sources";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Folder(PathBuf),
    Embedded,
}

/// What changes when a file changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: i64,
    /// Nanoseconds since 1970, of the inode: also catches a file that was replaced by one as old, and a changed
    /// permission.
    pub(crate) changed: i64,
}

/// The files that could be documents, sorted by path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// Paths relative to the corpus, with `/`.
    pub(crate) files: Vec<(String, Stamp)>,
    pub(crate) skipped: Vec<Skipped>,
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Markdown,
    Html,
    Plain,
}

impl Format {
    /// Decides by the name; `true` says that the file is packed with gzip.
    pub(crate) fn of(path: &str) -> Option<(Self, bool)> {
        let lower = path.to_ascii_lowercase();
        let (name, packed) = lower.strip_suffix(".gz").map_or((lower.as_str(), false), |name| (name, true));
        let format = match name.rsplit_once('.')?.1 {
            "md" | "markdown" => Self::Markdown,
            "html" | "htm" | "xhtml" => Self::Html,
            "txt" => Self::Plain,
            _ => return None,
        };
        Some((format, packed))
    }
}

impl Origin {
    /// Walks the corpus without opening its files.
    ///
    /// # Errors
    /// Permanent if the folder is missing, is no folder or cannot be listed.
    pub(crate) fn list(&self) -> Result<Listing, ProviderError> {
        let mut listing = match self {
            Self::Folder(folder) => list_folder(folder)?,
            // It cannot change while this binary runs.
            Self::Embedded => EMBEDDED.clone(),
        };
        listing.files.sort_by(|a, b| a.0.cmp(&b.0));
        listing.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listing)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// The reason why the file is skipped.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Folder(folder) => {
                let file = folder.join(path);
                let size =
                    std::fs::metadata(&file).map_err(|error| format!("cannot read it: {error}"))?.len();
                if size > LARGEST_FILE {
                    return Err(too_large());
                }
                std::fs::read(&file).map_err(|error| format!("cannot read it: {error}"))
            }
            Self::Embedded => DOCS
                .get_file(path)
                .map(|file| file.contents().to_vec())
                .ok_or_else(|| "it is not in this binary".to_owned()),
        }
    }

    /// Names the corpus in the index folder.
    ///
    /// # Errors
    /// Permanent if the folder is missing or is no folder.
    pub(crate) fn key(&self) -> Result<String, ProviderError> {
        let Self::Folder(folder) = self else { return Ok("embedded".to_owned()) };
        let canonical = canonical(folder)?;
        let digest = Sha256::digest(canonical.as_os_str().as_encoded_bytes());
        Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}

fn canonical(folder: &Path) -> Result<PathBuf, ProviderError> {
    let told = |problem: &str| {
        ProviderError::permanent(format!(
            "cannot search the corpus folder {}: {problem}; set corpus (or --corpus) to a folder with md, html or txt files",
            folder.display()
        ))
    };
    let canonical = folder.canonicalize().map_err(|error| told(&error.to_string().to_lowercase()))?;
    if !canonical.is_dir() {
        return Err(told("it is not a folder"));
    }
    Ok(canonical)
}

fn list_folder(folder: &Path) -> Result<Listing, ProviderError> {
    let root = canonical(folder)?;
    std::fs::read_dir(&root).map_err(|error| {
        ProviderError::permanent(format!(
            "cannot list the corpus folder {}: {error}; let the service read it",
            folder.display()
        ))
    })?;
    let mut listing = Listing::default();
    let walk = WalkBuilder::new(&root)
        .standard_filters(false)
        .hidden(true)
        .filter_entry(|entry| entry.file_name() != DUPLICATES)
        .build();
    for entry in walk {
        match entry {
            Ok(entry) if entry.path_is_symlink() => skip_link(&root, entry.path(), &mut listing),
            Ok(entry) if entry.file_type().is_some_and(|it| it.is_file()) => {
                add_file(&root, &entry, &mut listing)
            }
            Ok(_) => {}
            Err(error) => listing.skipped.push(Skipped {
                path: relative(&root, path_of(&error).unwrap_or(&root)),
                reason: format!("cannot list it: {error}"),
            }),
        }
    }
    Ok(listing)
}

fn add_file(root: &Path, entry: &ignore::DirEntry, listing: &mut Listing) {
    let path = relative(root, entry.path());
    if Format::of(&path).is_none() {
        return;
    }
    let skip = |reason: String| Skipped { path: path.clone(), reason };
    if entry.path().to_str().is_none() {
        return listing.skipped.push(skip("its name is not utf-8; rename it".to_owned()));
    }
    match entry.metadata() {
        Ok(metadata) => listing.files.push((path, stamp(&metadata))),
        Err(error) => listing.skipped.push(skip(format!("cannot read it: {error}"))),
    }
}

/// Links are never followed: what they name inside the corpus is listed anyway, the rest is not part of it.
/// So no loop of links can hang the walk.
fn skip_link(root: &Path, link: &Path, listing: &mut Listing) {
    let reason = match link.canonicalize() {
        Ok(target) if target.starts_with(root) => return,
        Ok(target) if !target.is_dir() && Format::of(&link.to_string_lossy()).is_none() => return,
        Ok(_) => "it is a link to outside the corpus",
        Err(_) => "it is a link that leads nowhere",
    };
    listing.skipped.push(Skipped { path: relative(root, link), reason: reason.to_owned() });
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only these carry a path")]
fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        _ => None,
    }
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Stamp {
        size: metadata.len(),
        modified: modified.map_or(0, |it| i64::try_from(it.as_nanos()).unwrap_or(i64::MAX)),
        changed: inode_changed(metadata),
    }
}

#[cfg(unix)]
fn inode_changed(metadata: &std::fs::Metadata) -> i64 {
    use std::os::unix::fs::MetadataExt;
    metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn inode_changed(_: &std::fs::Metadata) -> i64 {
    0
}

fn list_embedded() -> Listing {
    let mut listing = Listing::default();
    let mut folders = vec![&DOCS];
    while let Some(folder) = folders.pop() {
        for entry in folder.entries() {
            match entry {
                DirEntry::Dir(inner) => folders.push(inner),
                DirEntry::File(file) => {
                    let path = file.path().to_string_lossy().replace('\\', "/");
                    if let Some((Format::Markdown, false)) = Format::of(&path) {
                        // Another binary may bring other text of the same length; its content is its stamp.
                        let digest = Sha256::digest(file.contents());
                        let content = digest.iter().take(7).fold(0, |sum, &byte| sum << 8 | i64::from(byte));
                        let size = file.contents().len() as u64;
                        listing.files.push((path, Stamp { size, modified: 0, changed: -content }));
                    }
                }
            }
        }
    }
    listing
}
