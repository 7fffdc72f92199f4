//! Where a measured store is: always a new one.

use anyhow::{Context as _, Result};
use quillwork_test_servers::{Database, Postgres};
use tempfile::TempDir;

use super::accounts;

/// A store that nobody else has; removed when dropped.
pub(super) struct Place<'a> {
    directory: TempDir,
    database: Option<(Database, &'a Postgres)>,
}

/// What a store takes and took so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Files of SQLite with their write-ahead logs, or the size of the PostgreSQL database.
    pub(super) data_bytes: u64,
    /// Files of SQLite's write-ahead logs, or everything that PostgreSQL ever wrote to its own.
    pub(super) wal_bytes: u64,
    /// CPU time of all processes of PostgreSQL.
    pub(super) database_cpu_micros: Option<u64>,
}

impl<'a> Place<'a> {
    /// A new database of the server, or a new SQLite file.
    pub(super) fn new(postgres: Option<&'a Postgres>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("quillwork-bench-").tempdir();
        let directory = directory.context("cannot make a folder for the data")?;
        Ok(Self { directory, database: postgres.map(|server| (server.database(), server)) })
    }

    /// The arguments with which a process finds it; the n-th process has a folder of its own where it may.
    pub(super) fn args(&self, nth: usize) -> Vec<String> {
        let directory = self.directory.path().join(nth.to_string()).to_string_lossy().into_owned();
        let mut args = vec!["--data-dir".to_owned(), directory];
        if let Some((database, _)) = &self.database {
            args.extend(["--store".to_owned(), database.url().to_owned()]);
        }
        args
    }

    /// The name of the database, if it is one.
    pub(super) fn database(&self) -> Option<&str> {
        self.database.as_ref().map(|(database, _)| database.name())
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        let Some((database, server)) = &self.database else {
            let directory = self.directory.path();
            return Ok(Usage {
                data_bytes: accounts::bytes(directory, ""),
                wal_bytes: accounts::bytes(directory, "-wal"),
                database_cpu_micros: None,
            });
        };
        let sizes = server.psql(
            database.name(),
            "SELECT pg_database_size(current_database()), pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')",
        );
        let (data, wal) = sizes.split_once('|').context("PostgreSQL does not tell its sizes")?;
        Ok(Usage {
            data_bytes: data.parse()?,
            wal_bytes: wal.parse()?,
            database_cpu_micros: Some(accounts::cpu_micros_of_family(server.pid())?),
        })
    }
}
