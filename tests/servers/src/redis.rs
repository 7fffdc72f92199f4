//! A Redis server that keeps nothing on disk.

use std::env;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use crate::private::{self, Private};
use crate::programs;

/// The server that tests share instead of one of their own.
const GIVEN: &str = "QUILLWORK_TEST_REDIS_URL";

/// A server; if it is our own, it is stopped and removed when dropped.
pub struct Redis {
    url: String,
    own: Option<Own>,
}

struct Own {
    private: Private,
    port: u16,
}

impl Redis {
    /// A new, empty server.
    pub fn start() -> Self {
        let private = Private::new("redis", "KILL");
        let port = private::on_a_free_port(|port| serve(&private, port));
        Self { url: format!("redis://127.0.0.1:{port}"), own: Some(Own { private, port }) }
    }

    /// One server for all tests of this process, started by the first that asks, or the one of
    /// `QUILLWORK_TEST_REDIS_URL`. Tests keep apart by their keys.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| match env::var(GIVEN) {
            Ok(url) => Self { url, own: None },
            Err(_) => Self::start(),
        })
    }

    /// `redis://127.0.0.1:PORT` for a server of our own.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `kill -9`: everything it held is lost. Returns when it is gone.
    pub fn kill(&self) {
        self.own().private.stop();
    }

    /// Starts a killed server on its port, empty. Returns when it serves.
    pub fn start_again(&self) {
        let own = self.own();
        serve(&own.private, own.port).unwrap_or_else(|log| panic!("Redis does not start again: {log}"));
    }

    /// The pid of the server, until the next start.
    pub fn pid(&self) -> u32 {
        self.own().private.pid()
    }

    /// The port on 127.0.0.1, the same after every start.
    pub fn port(&self) -> u16 {
        self.own().port
    }

    fn own(&self) -> &Own {
        self.own.as_ref().unwrap_or_else(|| {
            panic!("the server of {GIVEN} is not ours to control; the test needs Redis::start()")
        })
    }
}

/// Ready when it answers with its own pid: somebody else may have the port.
fn serve(private: &Private, port: u16) -> Result<(), String> {
    let text = port.to_string();
    let args = ["--bind", "127.0.0.1", "--port", &text, "--save", "", "--appendonly", "no"];
    private.start(&programs::find("redis-server"), &args, |pid| {
        info(port).is_some_and(|info| info.lines().any(|line| line == format!("process_id:{pid}")))
    })
}

/// What the server on a port says about itself.
fn info(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    // A stranger on the port need not answer.
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"INFO server\r\nQUIT\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
