use std::process::{Command, Stdio};
use std::thread;

use quillwork_test_servers::Postgres;

use crate::psql::ask;

#[test]
fn databases_made_at_the_same_time_are_apart() {
    let server = Postgres::shared();
    let databases: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn(move || {
                    let database = server.database();
                    let insert = format!("CREATE TABLE n (n int); INSERT INTO n VALUES ({number})");
                    ask(database.url(), &insert).unwrap();
                    database
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let numbers: Vec<_> =
        databases.iter().map(|database| ask(database.url(), "SELECT n FROM n").unwrap()).collect();
    assert_eq!(numbers, ["0", "1", "2", "3"]);
}

#[test]
fn a_dropped_database_is_gone_with_its_connections() {
    let server = Postgres::shared();
    let database = server.database();
    let name = database.name().to_owned();
    let mut client = Command::new("psql")
        .args(["-X", "-d", database.url(), "-c", "SELECT pg_sleep(600)"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let connections = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'");
    while server.psql("postgres", &connections) != "1" {
        assert!(client.try_wait().unwrap().is_none());
    }
    drop(database);
    assert!(!client.wait().unwrap().success());
    assert_eq!(server.psql("postgres", &format!("SELECT 1 FROM pg_database WHERE datname = '{name}'")), "");
}

#[test]
fn a_crash_keeps_what_was_committed() {
    let server = Postgres::start();
    let database = server.database();
    ask(database.url(), "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").unwrap();
    let (port, pid) = (server.port(), server.pid());
    server.stop_immediate();
    ask(database.url(), "SELECT 1").unwrap_err();
    server.start_again();
    assert_eq!(ask(database.url(), "SELECT n FROM kept").unwrap(), "7");
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    server.restart_immediate();
    assert_eq!(ask(database.url(), "SELECT n FROM kept").unwrap(), "7");
}

#[test]
fn settings_are_those_of_production_unless_given() {
    let all = "SELECT name, setting FROM pg_settings \
               WHERE name IN ('fsync', 'max_connections', 'synchronous_commit', 'log_line_prefix') ORDER BY name";
    let server = Postgres::start_with(&[("synchronous_commit", "off"), ("log_line_prefix", "it's ")]);
    assert_eq!(
        server.psql("postgres", all),
        "fsync|on\nlog_line_prefix|it's \nmax_connections|200\nsynchronous_commit|off"
    );
}

#[test]
fn cut_connections_fail_and_others_do_not() {
    let server = Postgres::shared();
    let (cut, spared) = (server.database(), server.database());
    let sleep = |url: &str, seconds: &str| {
        Command::new("psql")
            .args(["-X", "-d", url, "-c", &format!("SELECT pg_sleep({seconds})")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut victim = sleep(cut.url(), "600");
    let mut bystander = sleep(spared.url(), "600");
    for database in [&cut, &spared] {
        let connections =
            format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", database.name());
        while server.psql("postgres", &connections) != "1" {
            assert!(victim.try_wait().unwrap().is_none());
        }
    }
    server.terminate_connections(cut.name());
    assert!(!victim.wait().unwrap().success());
    assert!(bystander.try_wait().unwrap().is_none());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
#[should_panic(expected = "relation \"nothing\" does not exist")]
fn failed_sql_says_why() {
    let server = Postgres::shared();
    server.psql("postgres", "SELECT * FROM nothing");
}
