//! Where the server is, and how to connect to it.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use quillwork_app::ports::store::StoreError;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::postgres::errors::store_error;

/// How long a new connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Where the log is, and how to talk to it.
#[derive(Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database`, with the parameters of libpq such as `sslmode`.
    pub url: String,
    /// Connections for readers and read models. The writer and the watch have one more each.
    pub max_connections: u32,
    /// Between us and the server is a pooler in transaction mode such as PgBouncer: nothing outlives a transaction, so
    /// there is no LISTEN, no prepared statement and no setting of a session.
    pub pooled: bool,
    /// How often to look for what other processes wrote, should their notification get lost; in a pool always.
    pub poll_interval: Duration,
    pub hears: Hears,
}

/// What a process wants to be told of by the others, as long as it has a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// Every event, as for readers and read models.
    All,
    /// Tasks that wait and jobs that were cancelled. While nobody else wants to hear of more, no commit tells of less.
    Work,
}

/// Without the URL, which may hold a password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("max_connections", &self.max_connections)
            .field("pooled", &self.pooled)
            .field("poll_interval", &self.poll_interval)
            .field("hears", &self.hears)
            .finish_non_exhaustive()
    }
}

/// A server and a database there.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) options: PgConnectOptions,
    /// `host:port/database`, for messages.
    pub(super) name: String,
    pub(super) pooled: bool,
    pub(super) hears: Hears,
}

impl Place {
    pub(super) fn new(config: &PostgresConfig) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(&config.url)
            .map_err(|error| StoreError::Unavailable(format!(
                    "the store URL cannot be read: {error}; it is postgres://user:password@host:port/database, with special characters of the user and the password percent-encoded"
                )))?
            .application_name("quillwork")
            // A pooler refuses what it does not know.
            .extra_float_digits(None)
            .disable_statement_logging();
        let options = if config.pooled { options.statement_cache_capacity(0) } else { options };
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => options.get_host().to_owned(),
        };
        let name = format!("{host}:{}/{database}", options.get_port());
        Ok(Self { options, name, pooled: config.pooled, hears: config.hears })
    }

    pub(super) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let connecting = PgConnection::connect_with(&self.options);
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(connected) => connected.map_err(|error| self.error(error)),
            Err(_) => Err(self.silent()),
        }
    }

    pub(super) fn error(&self, error: sqlx::Error) -> StoreError {
        store_error(&self.name, error)
    }

    /// The server does not answer.
    pub(super) fn silent(&self) -> StoreError {
        StoreError::Unavailable(format!("PostgreSQL at {} does not answer", self.name))
    }
}
