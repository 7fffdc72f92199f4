//! The log in PostgreSQL: any number of processes, one after the other.

mod cache;
mod claims;
mod commit;
mod copied;
mod errors;
mod leases;
mod news;
mod place;
mod reader;
mod rows;
mod schema;
mod session;
mod sweeper;
mod watch;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use quillwork_app::ports::store::{LogReader as _, StoreError};
use sqlx::postgres::{PgPool, PgPoolOptions};

use crate::postgres::place::Place;
use crate::postgres::schema::check_schema;

pub use cache::PostgresCache;
pub use place::{Hears, PostgresConfig};
pub use reader::PostgresReader;
pub use schema::migrate;
pub use watch::PostgresWatch;
pub use writer::PostgresWriter;

/// How long a reader waits for a connection: a client is better told to come back than kept.
const ACQUIRE: Duration = Duration::from_secs(3);

/// A log that was opened.
pub struct Opened {
    /// For everyone.
    pub reader: Arc<PostgresReader>,
    /// The connections of the reader, for read models in the same database.
    pub pool: PgPool,
}

/// Opens the log for reading, after its schema was brought up to date, or only looked at unless `may_migrate`.
pub async fn open(config: &PostgresConfig, may_migrate: bool) -> Result<Opened, StoreError> {
    if may_migrate {
        migrate(config).await?;
    } else {
        check_schema(config).await?;
    }
    let place = Place::new(config)?;
    let mut options = place.options.clone();
    if !place.pooled {
        // A plan made for empty tables reads whole tables, for ever.
        // Compiling a statement takes longer than any of ours runs.
        options = options.options([
            ("plan_cache_mode", "force_custom_plan"),
            ("jit", "off"),
            ("bytea_output", "hex"),
        ]);
    }
    let pool = PgPoolOptions::new()
        .max_connections(config.max_connections.max(1))
        .acquire_timeout(ACQUIRE)
        .connect_lazy_with(options);
    let reader = Arc::new(PostgresReader::new(place, pool.clone()));
    reader.head().await?;
    Ok(Opened { reader, pool })
}

/// The writer, for the engine. It connects when it is first asked, on the runtime of whoever asks.
pub fn writer(config: &PostgresConfig) -> Result<PostgresWriter, StoreError> {
    Place::new(config).map(PostgresWriter::new)
}

/// Tells what other processes write. It connects by itself.
pub fn watch(config: &PostgresConfig) -> Result<PostgresWatch, StoreError> {
    Ok(PostgresWatch::new(Place::new(config)?, config.poll_interval))
}

#[cfg(test)]
mod tests;
