//! The conformance suite on PostgreSQL, and what only a server can do wrong.

mod cache;
mod cut;
mod news;
mod outages;
mod scans;
mod schema;
mod several;
mod sweeps;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::store::{LogReader, LogWriter};
use quillwork_test_servers::{Database, PgBouncer, Postgres};

use super::*;
use crate::conformance::{Fixture, conforms};

static POOLER: LazyLock<PgBouncer> = LazyLock::new(|| PgBouncer::start(Postgres::shared()));

/// A database of its own.
struct OnServer {
    database: Database,
    pooled: bool,
}

impl OnServer {
    fn direct() -> Self {
        Self { database: Postgres::shared().database(), pooled: false }
    }

    fn pooled() -> Self {
        Self { database: Postgres::shared().database(), pooled: true }
    }

    fn config(&self) -> PostgresConfig {
        if self.pooled {
            config(&POOLER.url(self.database.name()), true)
        } else {
            config(self.database.url(), false)
        }
    }

    /// With the schema, and the reader.
    async fn opened(&self) -> Arc<PostgresReader> {
        open(&self.config(), true).await.unwrap().reader
    }

    fn writer(&self) -> PostgresWriter {
        writer(&self.config()).unwrap()
    }

    fn psql(&self, sql: &str) -> String {
        Postgres::shared().psql(self.database.name(), sql)
    }
}

fn config(url: &str, pooled: bool) -> PostgresConfig {
    PostgresConfig {
        url: url.to_owned(),
        max_connections: 3,
        pooled,
        poll_interval: Duration::from_millis(50),
        hears: Hears::All,
    }
}

/// Fails instead of hanging.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it never happened")
}

#[async_trait]
impl Fixture for OnServer {
    async fn open(&self) -> (Box<dyn LogWriter>, Arc<dyn LogReader>) {
        let reader = self.opened().await;
        (Box::new(self.writer()), reader)
    }
}

mod direct {
    use super::*;
    conforms!(OnServer::direct());
}

mod pooled {
    use super::*;
    conforms!(OnServer::pooled());
}
