//! A PostgreSQL server, and databases on it.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use uuid::Uuid;

use crate::private::{self, Private};
use crate::programs;
use crate::psql;

/// The server that tests share instead of one of their own, as a URL of a user who may create databases.
const GIVEN: &str = "QUILLWORK_TEST_POSTGRES_URL";

/// A server; if it is our own, it is stopped and removed when dropped.
pub struct Postgres {
    /// A URL without the name of a database, and what follows the name.
    base: String,
    query: String,
    own: Option<Own>,
}

struct Own {
    private: Private,
    port: u16,
}

impl Postgres {
    /// A new, empty server. Commits are synchronous and reach the disk.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With lines of `postgresql.conf`, such as `("synchronous_commit", "off")`.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        // An immediate shutdown: like a crash for the data, but nothing is left in shared memory.
        let private = Private::new("postgres", "QUIT");
        let data = private.directory().join("data");
        let data = data.to_str().expect("the temporary directory has a name in UTF-8");
        let initdb = ["--pgdata", data, "--username=quillwork", "--auth=trust", "--encoding=UTF8"];
        // Whether a server that was never used survives a power failure is of no interest.
        let initdb = [&initdb[..], &["--locale=C", "--no-sync", "--no-instructions"]].concat();
        private.run(&programs::find_postgres("initdb"), &initdb);
        let mut configuration = String::from(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\nshared_buffers = '32MB'\n",
        );
        for (name, value) in settings {
            writeln!(configuration, "{name} = '{}'", value.replace('\'', "''")).unwrap();
        }
        private.write("data/postgresql.auto.conf", &configuration);
        let port = private::on_a_free_port(|port| serve(&private, port));
        let base = format!("postgres://quillwork@127.0.0.1:{port}");
        Self { base, query: String::new(), own: Some(Own { private, port }) }
    }

    /// One server for all tests of this process, started by the first that asks,
    /// or the one of `QUILLWORK_TEST_POSTGRES_URL`. It is not for tests that stop it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match env::var(GIVEN) {
            Ok(url) => Self::given(&url),
            Err(_) => Self::start(),
        })
    }

    /// Where a client program is, such as `pgbench`.
    pub fn client(program: &str) -> PathBuf {
        programs::find_client(program)
    }

    fn given(url: &str) -> Self {
        let (url, query) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, rest) =
            url.split_once("://").unwrap_or_else(|| panic!("{GIVEN} must be like postgres://user@host:5432"));
        let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        Self { base: format!("{scheme}://{authority}"), query, own: None }
    }

    /// A new, empty database that no other test has.
    pub fn database(&self) -> Database {
        let name = format!("test_{}", Uuid::now_v7().simple());
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        Database { url: self.url(&name), maintenance: self.url("postgres"), name }
    }

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}{}", self.base, self.query)
    }

    /// Runs SQL in one transaction and returns its rows, one per line, columns divided by `|`. Panics with the error.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        psql::run(&self.url(database), sql)
            .unwrap_or_else(|error| panic!("psql failed in database {database}: {error}"))
    }

    /// Cuts all connections to a database.
    pub fn terminate_connections(&self, database: &str) {
        let others = format!("datname = '{}' AND pid <> pg_backend_pid()", database.replace('\'', "''"));
        self.psql(
            "postgres",
            &format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {others}"),
        );
    }

    /// Ends the server without writing what it has in memory. Returns when it is gone.
    pub fn stop_immediate(&self) {
        self.own().private.stop();
    }

    /// Starts a stopped server on its port, with its data. Returns when it serves.
    pub fn start_again(&self) {
        let own = self.own();
        serve(&own.private, own.port).unwrap_or_else(|log| panic!("PostgreSQL does not start again: {log}"));
    }

    /// A crash and a recovery.
    pub fn restart_immediate(&self) {
        self.stop_immediate();
        self.start_again();
    }

    /// The pid of the postmaster, until the next start.
    pub fn pid(&self) -> u32 {
        self.own().private.pid()
    }

    /// The port on 127.0.0.1, the same after every start.
    pub fn port(&self) -> u16 {
        self.own().port
    }

    fn own(&self) -> &Own {
        self.own.as_ref().unwrap_or_else(|| {
            panic!("the server of {GIVEN} is not ours to control; the test needs Postgres::start()")
        })
    }
}

/// Ready when the server's own file says so: somebody else may answer on the port.
fn serve(private: &Private, port: u16) -> Result<(), String> {
    let data = private.directory().join("data");
    let data = data.to_str().expect("the temporary directory has a name in UTF-8");
    let port = port.to_string();
    private.start(&programs::find_postgres("postgres"), &["-D", data, "-p", &port], |pid| {
        let status = fs::read_to_string(private.directory().join("data/postmaster.pid")).unwrap_or_default();
        let mut lines = status.lines();
        lines.next() == Some(pid.to_string().as_str())
            && lines.nth(6).is_some_and(|line| line.trim() == "ready")
    })
}

/// A database of its own, dropped with its connections when this is dropped.
pub struct Database {
    name: String,
    url: String,
    maintenance: String,
}

impl Database {
    /// Without a password for a server of our own.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs SQL in one transaction and returns its rows, one per line, columns divided by `|`. Panics with the error.
    pub fn psql(&self, sql: &str) -> String {
        psql::run(&self.url, sql).unwrap_or_else(|error| panic!("psql failed in {}: {error}", self.name))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The server may have ended before, and the database with it.
        let _ = psql::run(&self.maintenance, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}
