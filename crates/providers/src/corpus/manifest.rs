//! What an index holds: the list of files that belongs to one commit.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::corpus::origin::Stamp;

/// Counts the changes of the stored format, of the readers and of the words: an older index is built anew.
pub(crate) const FORMAT: u32 = 1;

/// The files of an index, as of one commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// Numbers documents in the index; never used twice.
    pub(crate) next_id: u64,
    /// By path relative to the corpus.
    pub(crate) files: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) stamp: Stamp,
    /// When the file was read, in nanoseconds since 1970.
    pub(crate) read_at: i64,
    pub(crate) sha256: String,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    Document { id: u64, title: String, passages: u64 },
    Skipped { reason: String },
}

/// A file that changed within this time before it was read may change again under the same stamp.
const CLOCK_TICK: i64 = 20_000_000;

impl Manifest {
    pub(crate) fn new() -> Self {
        Self { format: FORMAT, ..Self::default() }
    }

    /// The manifest of the commit with this payload.
    ///
    /// # Errors
    /// If it is missing, is damaged or has another format.
    pub(crate) fn load(folder: &Path, commit: &str) -> Result<Self, String> {
        let path = path(folder, commit);
        let bytes =
            std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let manifest: Self = serde_json::from_slice(&bytes)
            .map_err(|error| format!("cannot parse {}: {error}", path.display()))?;
        if manifest.format != FORMAT {
            return Err(format!("the index has format {}, this version writes {FORMAT}", manifest.format));
        }
        Ok(manifest)
    }

    /// Writes the manifest so that it is whole on disk before the commit that names it.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn save(&self, folder: &Path, commit: &str) -> std::io::Result<()> {
        let path = path(folder, commit);
        let unfinished = path.with_extension("unfinished");
        let mut file = std::fs::File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &path)
    }

    /// Removes the manifests of other commits.
    pub(crate) fn remove_others(folder: &Path, commit: &str) {
        let keep = path(folder, commit);
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("manifest-") && entry.path() != keep {
                // A manifest left behind wastes space and misleads nobody.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    pub(crate) fn documents(&self) -> u64 {
        self.files.values().filter(|entry| matches!(entry.content, Content::Document { .. })).count() as u64
    }

    pub(crate) fn passages(&self) -> u64 {
        let passages = self.files.values().map(|entry| match &entry.content {
            Content::Document { passages, .. } => *passages,
            Content::Skipped { .. } => 0,
        });
        passages.sum()
    }
}

impl Entry {
    /// Whether the file can be taken as unchanged without reading it.
    pub(crate) fn is_current(&self, stamp: &Stamp) -> bool {
        let settled = self.stamp.modified.max(self.stamp.changed).saturating_add(CLOCK_TICK) < self.read_at;
        self.stamp == *stamp && settled
    }
}

fn path(folder: &Path, commit: &str) -> PathBuf {
    folder.join(format!("manifest-{commit}.json"))
}
