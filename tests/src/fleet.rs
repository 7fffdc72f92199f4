//! The real binary as several processes on one PostgreSQL database.

mod evidence;
mod member;

use std::path::Path;

use tempfile::TempDir;

pub use evidence::{evidence, open_log, read_log};
pub use member::{Member, Url};

/// Errors that are shown of the logs of a fleet whose test failed.
const MAX_ERRORS: usize = 40;

/// Which command of the binary a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Api,
    Worker,
    Projector,
}

impl Role {
    fn command(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Projector => "projector",
        }
    }
}

/// What the processes of a fleet have in common. Their logs are kept if the test fails, or if `QUILLWORK_TEST_LOGS` is
/// set.
pub struct Fleet {
    directory: Option<TempDir>,
    store: String,
    environment: Vec<(String, String)>,
}

impl Fleet {
    /// On a database; `toml` is the configuration file of all processes.
    pub fn on(store: &str, toml: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("quillwork-fleet-").tempdir().unwrap();
        std::fs::write(directory.path().join("quillwork.toml"), toml).unwrap();
        Self { directory: Some(directory), store: store.to_owned(), environment: vec![] }
    }

    /// Every process that is made from now on gets a variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A process that does not run yet. `name` is its log's name, and unique in the fleet.
    pub fn member(&self, role: Role, name: &str) -> Member {
        let mut environment = self.environment.clone();
        environment.extend([
            ("QUILLWORK_STORE".to_owned(), self.store.clone()),
            // The kernel finds a port at each start, as the next start of a container has another address.
            ("QUILLWORK_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("QUILLWORK_HEALTH_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ]);
        Member::new(role.command(), name, self.directory(), environment)
    }

    /// Where the logs are.
    pub fn directory(&self) -> &Path {
        self.directory.as_ref().expect("it is taken only when the fleet is dropped").path()
    }

    /// Keeps the logs, and says where and which errors are in them: whoever reads of the failure may not have the machine.
    fn keep_logs(&mut self) {
        if let Some(directory) = &mut self.directory {
            directory.disable_cleanup(true);
            eprintln!("the logs of the processes are kept in {}", directory.path().display());
            errors(directory.path()).iter().take(MAX_ERRORS).for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The lines of all logs that tell of an error, each behind the name of its file.
fn errors(directory: &Path) -> Vec<String> {
    let mut errors = Vec::new();
    for file in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let log = std::fs::read(file.path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().filter(|line| line.contains(r#""level":"ERROR""#));
        errors.extend(lines.map(|line| format!("{}: {line}", file.file_name().display())));
    }
    errors
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("QUILLWORK_TEST_LOGS").is_some() {
            self.keep_logs();
        }
    }
}
