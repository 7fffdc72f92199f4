//! The index on disk: passages in tantivy, files in a manifest, both of the same commit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tantivy::directory::MmapDirectory;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{Index, ReloadPolicy, Searcher};
use uuid::Uuid;

use crate::corpus::analyzer::analyzer;
use crate::corpus::manifest::{Content, Manifest};

const TOKENIZER: &str = "english";

/// What a passage is stored as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    /// The document's id in the manifest.
    pub(crate) document: Field,
    /// Counts the passages of a document.
    pub(crate) ordinal: Field,
    pub(crate) title: Field,
    pub(crate) heading: Field,
    pub(crate) text: Field,
    pub(crate) first_line: Field,
    pub(crate) last_line: Field,
}

/// An index that can be written.
pub(crate) struct PassageIndex {
    folder: PathBuf,
    pub(crate) index: Index,
    pub(crate) fields: Fields,
    pub(crate) manifest: Manifest,
    /// Names the commit that `manifest` belongs to; none before the first.
    pub(crate) commit: Option<String>,
}

/// A readable state of the index, unaffected by later changes.
pub(crate) struct Snapshot {
    pub(crate) manifest: Manifest,
    pub(crate) searcher: Searcher,
    pub(crate) fields: Fields,
    /// Average number of terms per passage, of title, heading and text.
    pub(crate) averages: [f64; 3],
    /// Path and title by document id.
    pub(crate) documents: BTreeMap<u64, (String, String)>,
}

impl PassageIndex {
    /// Opens the index in `folder`; builds an empty one if there is none, or none that can be used.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn open(folder: &Path) -> Result<Self, String> {
        match Self::open_existing(folder) {
            Ok(Some(opened)) => return Ok(opened),
            Ok(None) => {}
            Err(reason) => tracing::warn!(folder = %folder.display(), reason, "rebuilding the corpus index"),
        }
        let passages = passages_folder(folder);
        let told = |error: &dyn std::fmt::Display| {
            format!(
                "cannot write the corpus index in {}: {error}; check the folder and its disk",
                folder.display()
            )
        };
        match std::fs::remove_dir_all(&passages) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(told(&error)),
            _ => {}
        }
        std::fs::create_dir_all(&passages).map_err(|error| told(&error))?;
        let (schema, fields) = schema();
        let index = Index::create_in_dir(&passages, schema).map_err(|error| told(&error))?;
        register_words(&index);
        Ok(Self { folder: folder.to_owned(), index, fields, manifest: Manifest::new(), commit: None })
    }

    fn open_existing(folder: &Path) -> Result<Option<Self>, String> {
        let directory = match MmapDirectory::open(passages_folder(folder)) {
            Ok(directory) => directory,
            Err(tantivy::directory::error::OpenDirectoryError::DoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let index = Index::open(directory).map_err(|error| error.to_string())?;
        let (schema, fields) = schema();
        if index.schema() != schema {
            return Err("the index has other fields than this version writes".to_owned());
        }
        let damaged = index.validate_checksum().map_err(|error| error.to_string())?;
        if let Some(file) = damaged.iter().min() {
            return Err(format!("{} is damaged", file.display()));
        }
        let metas = index.load_metas().map_err(|error| error.to_string())?;
        // Without a commit nothing was ever indexed.
        let Some(commit) = metas.payload else { return Ok(None) };
        let manifest = Manifest::load(folder, &commit)?;
        register_words(&index);
        Ok(Some(Self { folder: folder.to_owned(), index, fields, manifest, commit: Some(commit) }))
    }

    /// Makes what `writer` was given and the manifest durable, as one commit.
    ///
    /// # Errors
    /// If the folder cannot be written; then the last commit still holds.
    pub(crate) fn commit(&mut self, writer: &mut tantivy::IndexWriter) -> tantivy::Result<()> {
        let commit = Uuid::now_v7().to_string();
        self.manifest.save(&self.folder, &commit)?;
        let mut prepared = writer.prepare_commit()?;
        prepared.set_payload(&commit);
        prepared.commit()?;
        Manifest::remove_others(&self.folder, &commit);
        self.commit = Some(commit);
        Ok(())
    }

    /// Replaces the manifest of the last commit, whose passages it still describes.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn save_manifest(&self) -> std::io::Result<()> {
        self.commit.as_ref().map_or(Ok(()), |commit| self.manifest.save(&self.folder, commit))
    }

    /// # Errors
    /// If a file of the index cannot be read.
    pub(crate) fn snapshot(self) -> tantivy::Result<Snapshot> {
        let reader = self.index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let searcher = reader.searcher();
        let averages = averages(&searcher, self.fields)?;
        let documents = self.manifest.files.iter().filter_map(|(path, entry)| match &entry.content {
            Content::Document { id, title, .. } => Some((*id, (path.clone(), title.clone()))),
            Content::Skipped { .. } => None,
        });
        Ok(Snapshot {
            documents: documents.collect(),
            manifest: self.manifest,
            searcher,
            fields: self.fields,
            averages,
        })
    }
}

fn passages_folder(folder: &Path) -> PathBuf {
    folder.join("passages")
}

fn schema() -> (Schema, Fields) {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(true);
    let text = TextOptions::default().set_indexing_options(indexing);
    let mut schema = Schema::builder();
    let fields = Fields {
        document: schema.add_u64_field("document", FAST | INDEXED),
        ordinal: schema.add_u64_field("ordinal", FAST),
        title: schema.add_text_field("title", text.clone()),
        heading: schema.add_text_field("heading", text.clone().set_stored()),
        text: schema.add_text_field("text", text.set_stored()),
        first_line: schema.add_u64_field("first_line", STORED),
        last_line: schema.add_u64_field("last_line", STORED),
    };
    (schema.build(), fields)
}

fn register_words(index: &Index) {
    index.tokenizers().register(TOKENIZER, analyzer());
}

/// Counted over the living passages, so that they do not depend on when segments are merged.
fn averages(searcher: &Searcher, fields: Fields) -> tantivy::Result<[f64; 3]> {
    let mut sums = [0u64; 3];
    for segment in searcher.segment_readers() {
        for (sum, field) in sums.iter_mut().zip([fields.title, fields.heading, fields.text]) {
            let norms = segment.get_fieldnorms_reader(field)?;
            *sum += segment.doc_ids_alive().map(|doc| u64::from(norms.fieldnorm(doc))).sum::<u64>();
        }
    }
    let passages = searcher.num_docs().max(1) as f64;
    Ok(sums.map(|sum| (sum as f64 / passages).max(1.0)))
}
