//! The store that the settings name, opened for one process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use quillwork_app::feed::Feed;
use quillwork_app::ports::cache::Cache;
use quillwork_app::ports::store::{LogReader, LogWatch, LogWriter};
use quillwork_domain::id::Position;
use quillwork_projections::{PgReadConfig, ReadModels, rebuild, rebuild_postgres};
use quillwork_store::postgres::{self, Hears, Opened, PostgresCache, PostgresConfig};
use quillwork_store::sqlite::{self, DataDir, SqliteCache};

use crate::config::{Settings, without_password};

/// The file of the read models in a data directory.
pub(crate) fn read_models(data_dir: &Path) -> PathBuf {
    data_dir.join("read.db")
}

/// An open store.
pub(crate) struct Storage {
    pub(crate) reader: Arc<dyn LogReader>,
    place: Place,
}

enum Place {
    /// One file, one process.
    Directory(DataDir),
    /// A server that processes share.
    Postgres { config: PostgresConfig, opened: Opened },
}

/// The only way to write to the log, for the one engine of the process.
pub(crate) struct Writer {
    pub(crate) writer: Box<dyn LogWriter>,
    /// Tells what other processes write, if there can be any.
    pub(crate) watch: Option<Box<dyn LogWatch>>,
}

impl Storage {
    /// Opens the store and brings its schema up to date, as far as the settings allow. Where others write to it, too, they
    /// tell this process what it `hears` of.
    pub(crate) async fn open(settings: &Settings, hears: Hears) -> anyhow::Result<(Self, Writer)> {
        let config = postgres_config(settings).map(|config| PostgresConfig { hears, ..config });
        let Some(config) = config else {
            let dir = DataDir::own(&settings.data_dir)?;
            let (writer, reader) = sqlite::open(&dir).context("cannot open the log")?;
            let writer = Writer { writer: Box::new(writer), watch: None };
            return Ok((Self { reader, place: Place::Directory(dir) }, writer));
        };
        let opened = postgres::open(&config, settings.postgres.auto_migrate).await?;
        let writer = Writer {
            writer: Box::new(postgres::writer(&config)?),
            watch: Some(Box::new(postgres::watch(&config)?)),
        };
        Ok((Self { reader: opened.reader.clone(), place: Place::Postgres { config, opened } }, writer))
    }

    /// What is kept of answers from outside, unless the settings want none of it.
    pub(crate) fn cache(&self, settings: &Settings) -> anyhow::Result<Option<Arc<dyn Cache>>> {
        let max_bytes = settings.cache.store_bytes;
        if max_bytes == 0 {
            return Ok(None);
        }
        Ok(Some(match &self.place {
            Place::Directory(dir) => Arc::new(SqliteCache::new(dir.path(), max_bytes)),
            Place::Postgres { config, .. } => Arc::new(PostgresCache::new(config, max_bytes)?),
        }))
    }

    /// The read models of this store.
    pub(crate) async fn read_models(&self, settings: &Settings) -> anyhow::Result<ReadModels> {
        let models = match &self.place {
            Place::Directory(dir) => ReadModels::open(&read_models(dir.path()), self.reader.as_ref()).await,
            Place::Postgres { config, opened } => {
                let read = PgReadConfig { pooled: config.pooled };
                let may_create = settings.postgres.auto_migrate;
                ReadModels::open_postgres(opened.pool.clone(), read, self.reader.as_ref(), may_create).await
            }
        };
        models.context("cannot open the read models")
    }

    /// Makes the read models anew from the log; returns the position that they have then.
    pub(crate) async fn rebuild_read_models(&self) -> anyhow::Result<Position> {
        let head = self.reader.head().await?;
        let feed = Feed::new(self.reader.clone(), head.position);
        let rebuilt = match &self.place {
            Place::Directory(dir) => rebuild(&read_models(dir.path()), &feed).await,
            Place::Postgres { config, opened } => {
                let read = PgReadConfig { pooled: config.pooled };
                rebuild_postgres(opened.pool.clone(), read, &feed).await
            }
        };
        Ok(rebuilt.context("cannot rebuild the read models")?.position)
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        match &self.place {
            Place::Directory(dir) => dir.path().display().to_string(),
            Place::Postgres { config, .. } => {
                without_password(&config.url).unwrap_or_else(|| config.url.clone())
            }
        }
    }

    /// True if other processes can use the store at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        match self.place {
            Place::Directory(_) => false,
            Place::Postgres { .. } => true,
        }
    }
}

/// How to reach the PostgreSQL server, if the settings name one.
pub(crate) fn postgres_config(settings: &Settings) -> Option<PostgresConfig> {
    let url = settings.postgres_url()?.to_owned();
    let settings = &settings.postgres;
    Some(PostgresConfig {
        url,
        max_connections: settings.max_connections,
        pooled: settings.pooled,
        poll_interval: settings.poll_interval.0,
        hears: Hears::All,
    })
}
