use quillwork_test_servers::{PgBouncer, Postgres};

use crate::psql::ask;

#[test]
fn forwards_to_every_database_in_transaction_mode() {
    let server = Postgres::start();
    let pgbouncer = PgBouncer::start(&server);
    for number in ["1", "2"] {
        let database = server.database();
        ask(&pgbouncer.url(database.name()), &format!("CREATE TABLE n AS SELECT {number} AS n")).unwrap();
        assert_eq!(ask(database.url(), "SELECT n FROM n").unwrap(), number);
    }
    let mode = ask(&pgbouncer.url("pgbouncer"), "SHOW CONFIG").unwrap();
    assert!(mode.lines().any(|line| line.starts_with("pool_mode|transaction|")), "{mode}");
}

#[test]
fn forwards_to_a_server_that_came_back() {
    let server = Postgres::start();
    let database = server.database();
    let pgbouncer = PgBouncer::start(&server);
    let url = pgbouncer.url(database.name());
    assert_eq!(ask(&url, "SELECT 1").unwrap(), "1");
    server.restart_immediate();
    // The pooler may first notice on the old connection.
    let answer = ask(&url, "SELECT 1").or_else(|_| ask(&url, "SELECT 1"));
    assert_eq!(answer.unwrap(), "1");
}
