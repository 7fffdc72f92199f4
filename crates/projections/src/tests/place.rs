//! Where the tests keep their tables: each test runs in every place.

use std::path::PathBuf;

use quillwork_app::feed::Feed;
use quillwork_app::ports::store::LogReader;
use quillwork_test_servers::{Database, PgBouncer, Postgres};
use sqlx::Row;
use sqlx::postgres::{PgPool, PgPoolOptions};

use super::history::History;
use super::log::MemoryLog;
use crate::backend::Writer;
use crate::postgres::{self, PgReadConfig, lease, schema};
use crate::read_models::ReadModels;
use crate::rebuild::{rebuild, rebuild_postgres};
use crate::sqlite::{self, Indexes};
use crate::tables::Tables;

/// An empty place of its own, removed when dropped.
pub(super) enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(Pg),
}

/// A database, and how it is reached.
pub(super) struct Pg {
    pub(super) pool: PgPool,
    pub(super) config: PgReadConfig,
    // Dropped after the pool.
    pub(super) database: Database,
    _pooler: Option<PgBouncer>,
}

/// Declares each of the functions as a test in every place.
macro_rules! in_every_place {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            #[tokio::test]
            async fn on_sqlite() {
                super::$test($crate::tests::place::Place::sqlite()).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                super::$test($crate::tests::place::Place::postgres()).await;
            }

            #[tokio::test]
            async fn on_pooled_postgres() {
                super::$test($crate::tests::place::Place::pooled()).await;
            }
        }
    )*};
}
pub(super) use in_every_place;

pub(super) fn connect(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(5).connect_lazy(url).unwrap()
}

impl Pg {
    pub(super) fn new() -> Self {
        Self::on(Postgres::shared())
    }

    pub(super) fn on(server: &Postgres) -> Self {
        let database = server.database();
        let pool = connect(database.url());
        Self { pool, config: PgReadConfig::default(), database, _pooler: None }
    }

    /// Through a PgBouncer in transaction mode.
    pub(super) fn pooled() -> Self {
        let server = Postgres::shared();
        let database = server.database();
        let pooler = PgBouncer::start(server);
        let pool = connect(&pooler.url(database.name()));
        Self { pool, config: PgReadConfig { pooled: true }, database, _pooler: Some(pooler) }
    }

    pub(super) fn live(&self) -> postgres::Database {
        postgres::Database::live(self.pool.clone(), self.config)
    }

    /// As another process would.
    pub(super) async fn open(&self, log: &dyn LogReader) -> ReadModels {
        let pool = connect(&self.pool_url());
        ReadModels::open_postgres(pool, self.config, log, true).await.unwrap()
    }

    fn pool_url(&self) -> String {
        use sqlx::ConnectOptions;
        self.pool.connect_options().to_url_lossy().to_string()
    }

    pub(super) async fn tables(&self) -> Tables {
        schema::create(&self.live()).await.unwrap();
        let (turn, checkpoint) = lease::take_over(&self.live()).await.unwrap();
        Tables::new(Writer::Postgres(turn), checkpoint)
    }

    pub(super) async fn rebuild(&self, feed: &Feed) {
        rebuild_postgres(self.pool.clone(), self.config, feed).await.unwrap();
    }

    /// All rows of all tables, as text.
    pub(super) async fn dump(&self) -> Vec<String> {
        let mut dump = Vec::new();
        for (columns, table) in TABLES {
            let sql = format!("SELECT json_build_array({columns})::text FROM {{schema}}.{table} ORDER BY 1");
            let rows = self.live().run(sqlx::query(self.live().sql(&sql))).await.unwrap();
            dump.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        dump
    }
}

const TABLES: [(&str, &str); 9] = [
    (
        "submitted_position, id, status, pipeline, tenant, due_at, finished_at, topic, search, details",
        "job_summary",
    ),
    ("label, submitted_position", "job_label"),
    (
        "submitted_position, stage_index, attempt, outcome, worker, started_at, finished_at, class, error, retry_at",
        "job_timeline",
    ),
    ("handler, paused, max_running, reason, changed_at, actor, version", "queues"),
    ("name, value", "stats"),
    ("tenant, day, provider, model, calls, input_tokens, output_tokens, cost_micros", "usage"),
    ("views, id, ratings, stars, rating, seo_score, updated_at, version", "content_analytics"),
    ("stars, content, rater, 0", "content_rater"),
    ("position, hash", "checkpoint"),
];

impl Place {
    pub(super) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(super) fn postgres() -> Self {
        Self::Postgres(Pg::new())
    }

    pub(super) fn pooled() -> Self {
        Self::Postgres(Pg::pooled())
    }

    fn path(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("read.db")
    }

    pub(super) async fn open(&self, log: &MemoryLog) -> ReadModels {
        match self {
            Self::Sqlite(folder) => ReadModels::open(&Self::path(folder), log).await.unwrap(),
            Self::Postgres(pg) => pg.open(log).await,
        }
    }

    /// The tables as the one who may write them now.
    pub(super) async fn tables(&self) -> Tables {
        match self {
            Self::Sqlite(folder) => Tables::open_sqlite(&Self::path(folder)).await.unwrap(),
            Self::Postgres(pg) => pg.tables().await,
        }
    }

    /// New tables, as a rebuild fills them.
    pub(super) async fn filling(&self, n_rows: usize) -> Tables {
        match self {
            Self::Sqlite(folder) => {
                let (writer, checkpoint) =
                    sqlite::Writer::open(&Self::path(folder), Indexes::Later).await.unwrap();
                Tables::filling(Writer::Sqlite(writer), checkpoint, n_rows)
            }
            Self::Postgres(pg) => {
                schema::create_anew(&pg.live()).await.unwrap();
                let (turn, checkpoint) = lease::take_over(&pg.live()).await.unwrap();
                Tables::filling(Writer::Postgres(turn), checkpoint, n_rows)
            }
        }
    }

    /// Projects all of `history` and opens what it gives.
    pub(super) async fn with(&self, history: &History) -> ReadModels {
        self.tables().await.project(&[&history.entries]).await.unwrap();
        self.open(&MemoryLog::new(&history.entries)).await
    }

    pub(super) async fn rebuild(&self, history: &History) {
        let feed = history.log().feed();
        match self {
            Self::Sqlite(folder) => {
                rebuild(&Self::path(folder), &feed).await.unwrap();
                assert!(!folder.path().join("read.db.rebuild").exists());
            }
            Self::Postgres(pg) => {
                pg.rebuild(&feed).await;
                for left in ["_rebuild", "_old"] {
                    assert!(!schema::exists(&pg.live().beside(left)).await.unwrap());
                }
            }
        }
    }

    /// All rows of all tables, as text.
    pub(super) async fn dump(&self) -> Vec<String> {
        match self {
            Self::Sqlite(folder) => {
                let connection = Self::connect(folder);
                let mut dump: Vec<String> = Vec::new();
                for (columns, table) in TABLES {
                    let columns =
                        ["id", "content", "rater"].into_iter().fold(columns.to_owned(), |columns, bytes| {
                            columns.replace(&format!(" {bytes},"), &format!(" hex({bytes}),"))
                        });
                    let sql = format!("SELECT json_array({columns}) FROM {table} ORDER BY 1");
                    let mut select = connection.prepare(&sql).unwrap();
                    dump.extend(select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap));
                }
                dump
            }
            Self::Postgres(pg) => pg.dump().await,
        }
    }

    /// From now on no counter can be changed, and with that no batch written.
    pub(super) async fn sabotage(&self) {
        match self {
            Self::Sqlite(folder) => {
                let trigger =
                    "CREATE TRIGGER broken BEFORE UPDATE ON stats BEGIN SELECT raise(ABORT, 'no'); END";
                Self::connect(folder).execute_batch(trigger).unwrap();
            }
            Self::Postgres(pg) => {
                let constraint = "ALTER TABLE {schema}.stats ADD CONSTRAINT broken CHECK (false) NOT VALID";
                sqlx::raw_sql(pg.live().sql(constraint)).execute(&pg.pool).await.unwrap();
            }
        }
    }

    fn connect(folder: &tempfile::TempDir) -> rusqlite::Connection {
        rusqlite::Connection::open(Self::path(folder)).unwrap()
    }
}
