//! Processes of the measured binary.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long a process may take to start. Only one that will never start takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the binary, without settings of the developer's environment.
pub(super) fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUILLWORK_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A serving process; killed when dropped.
pub(super) struct Server {
    child: Child,
    /// As `http://127.0.0.1:1234`.
    pub(super) url: String,
}

impl Server {
    /// Starts a role on a free port, and waits until it works. `place` says where its store is.
    pub(super) fn start(binary: &Path, role: &str, place: &[String]) -> Result<Self> {
        let mut command = command(binary);
        command.arg(role).args(["--listen", "127.0.0.1:0"]).args(place).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {}", binary.display()))?;
        let stderr = child.stderr.take().context("the process has no standard error")?;
        let (say, said) = mpsc::channel();
        // To the end, so that the process never waits for a full pipe.
        thread::spawn(move || {
            let mut url = String::new();
            let mut log = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(found) = listening(&line) {
                    url = found.to_owned();
                }
                if line.contains("\"message\":\"started\"") {
                    // Nobody waits any more: fine, here and below.
                    let _ = say.send(Ok(std::mem::take(&mut url)));
                }
                if log.len() < 10_000 {
                    log.push_str(&line);
                    log.push('\n');
                }
            }
            let _ = say.send(Err(log));
        });
        let mut server = Self { child, url: String::new() };
        match said.recv_timeout(PATIENCE) {
            Ok(Ok(url)) => server.url = url,
            Ok(Err(log)) => bail!("quillwork {role} ended instead of starting:\n{log}"),
            Err(_) => bail!("quillwork {role} does not start"),
        }
        Ok(server)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Commits of events that the process made so far.
    pub(super) fn commits(&self) -> Result<u64> {
        let metrics = self.get("/metrics")?;
        counter(&metrics, "quillwork_log_commits_total")
            .with_context(|| format!("{} shows no quillwork_log_commits_total", self.url))
    }

    fn get(&self, path: &str) -> Result<String> {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).with_context(|| format!("{address} does not answer {path}"))?;
        Ok(answer)
    }

    /// Lets it end in peace, as before its data is looked at.
    pub(super) fn terminate(mut self) -> Result<()> {
        let kill = Command::new("kill").args(["-s", "TERM", &self.pid().to_string()]).status()?;
        let status = self.child.wait()?;
        if !kill.success() || !status.success() {
            bail!("quillwork ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listening(line: &str) -> Option<&str> {
    let (_, url) = line.split_once("listening on ")?;
    url.split(|c: char| c == '"' || c.is_whitespace()).next()
}

fn counter(metrics: &str, name: &str) -> Option<u64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_log() {
        let line = r#"{"level":"INFO","message":"listening on http://127.0.0.1:4711","address":"x"}"#;
        assert_eq!(listening(line), Some("http://127.0.0.1:4711"));
        assert_eq!(listening("started"), None);
    }

    #[test]
    fn a_counter_is_found() {
        let metrics = "# TYPE a counter\na_total 3\na_total_other 9\nb_total 12\n# EOF\n";
        assert_eq!(counter(metrics, "a_total"), Some(3));
        assert_eq!(counter(metrics, "b_total"), Some(12));
        assert_eq!(counter(metrics, "c_total"), None);
    }
}
