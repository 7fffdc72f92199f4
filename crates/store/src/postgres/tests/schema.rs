//! The schema, and what a server must be.

use quillwork_app::ports::store::StoreError;

use super::*;
use crate::postgres::session::Session;

#[tokio::test]
async fn two_migrate_at_once() {
    let server = OnServer::direct();
    let config = server.config();
    let all = (0..4).map(|_| {
        let config = config.clone();
        tokio::spawn(async move { migrate(&config).await })
    });
    let mut applied = Vec::new();
    for one in all.collect::<Vec<_>>() {
        applied.push(one.await.unwrap().unwrap());
    }
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, 4]);
    assert_eq!(migrate(&config).await.unwrap(), 0);
    check_schema(&config).await.unwrap();
}

#[tokio::test]
async fn a_missing_schema_says_what_to_do() {
    let server = OnServer::direct();
    let error = open(&server.config(), false).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("quillwork migrate"), "{error}");
    let error = server.writer().survey().await.unwrap_err().to_string();
    assert!(error.contains("quillwork migrate"), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let server = OnServer::direct();
    migrate(&server.config()).await.unwrap();
    server.psql("UPDATE quillwork.schema_version SET version = 99");
    for refused in [migrate(&server.config()).await.map(drop), open(&server.config(), false).await.map(drop)]
    {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("newer version"), "{error}");
    }
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let server = OnServer::direct();
    let name = format!("{}_latin1", server.database.name());
    let shared = Postgres::shared();
    run(
        shared,
        server.database.name(),
        &format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"),
    )
    .await;
    let error = migrate(&config(&shared.url(&name), false)).await.unwrap_err().to_string();
    assert!(error.contains("UTF8"), "{error}");
    run(shared, server.database.name(), &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// Outside of a transaction, as some statements have to be.
async fn run(server: &Postgres, database: &str, sql: &str) {
    let place = Place::new(&config(&server.url(database), false)).unwrap();
    let mut conn = place.connect().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
}

#[tokio::test]
async fn whoever_cannot_be_reached_is_named_without_the_password() {
    let port = PgBouncer::start(Postgres::shared()).port();
    let gone = config(&format!("postgres://me:sesame@127.0.0.1:{port}/log"), false);
    let error = migrate(&gone).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let text = format!("{error} {error:?} {gone:?}");
    assert!(text.contains(&format!("127.0.0.1:{port}/log")) && !text.contains("sesame"), "{text}");
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let url = Postgres::shared().url("nowhere_at_all");
    let error = migrate(&config(&url, false)).await.unwrap_err().to_string();
    assert!(error.contains("nowhere_at_all") && error.contains("createdb"), "{error}");
}

/// Durability is promised, whatever the administrator prefers for other programs.
#[tokio::test]
async fn commits_are_durable_whatever_the_server_is_set_to() {
    for server in [OnServer::direct(), OnServer::pooled()] {
        migrate(&server.config()).await.unwrap();
        let name = server.database.name().to_owned();
        server.psql(&format!(
            "ALTER DATABASE \"{name}\" SET synchronous_commit = off;
             ALTER DATABASE \"{name}\" SET default_transaction_isolation = serializable;
             ALTER DATABASE \"{name}\" SET default_transaction_read_only = on"
        ));
        let place = Place::new(&server.config()).unwrap();
        Postgres::shared().terminate_connections(&name);
        let mut session = loop {
            // The pooler hands out a dead connection or two.
            if let Ok(session) = Session::open(&place).await {
                break session;
            }
        };
        session.begin("").await.unwrap();
        for (setting, expected) in [
            ("synchronous_commit", "on"),
            ("transaction_isolation", "read committed"),
            ("transaction_read_only", "off"),
            ("idle_in_transaction_session_timeout", "2s"),
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
        ] {
            let query = sqlx::query("SELECT current_setting($1)").bind(setting);
            let value: String = sqlx::Row::get(&session.one(query).await.unwrap(), 0);
            assert_eq!(value, expected, "{setting}, pooled: {}", server.pooled);
        }
        session.rollback().await.unwrap();
    }
}
