//! A PgBouncer in front of a PostgreSQL server: one server connection serves many clients, a transaction at a time.

use crate::postgres::Postgres;
use crate::private::{self, Private};
use crate::programs;

/// A pooler; stopped and removed when dropped.
pub struct PgBouncer {
    port: u16,
    private: Private,
}

impl PgBouncer {
    /// In transaction mode, with five server connections per database, to every database of a server of our own.
    pub fn start(postgres: &Postgres) -> Self {
        let private = Private::new("pgbouncer", "KILL");
        let port = private::on_a_free_port(|port| serve(&private, port, postgres.port()));
        Self { port, private }
    }

    /// The URL of a database of the server behind it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://quillwork@127.0.0.1:{}/{database}", self.port)
    }

    /// The pid of the pooler.
    pub fn pid(&self) -> u32 {
        self.private.pid()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Ready when its own log says so: somebody else may have the port.
fn serve(private: &Private, port: u16, postgres: u16) -> Result<(), String> {
    private.write(
        "pgbouncer.ini",
        &format!(
            "[databases]
* = host=127.0.0.1 port={postgres} user=quillwork

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
"
        ),
    );
    let listening = format!("listening on 127.0.0.1:{port}");
    private.start(&programs::find("pgbouncer"), &["pgbouncer.ini"], |_| private.log().contains(&listening))
}
