//! A process in a directory of its own, started, stopped and started again.

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::account;
use crate::guardian::Guardian;
use crate::port;

/// How long a server may take to start. Only a server that will never start takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a lost race for a port is run again.
const RACES: usize = 5;

/// Writes the pid before there is a server, so that the guardian knows each of them. The name appears with its content.
const LAUNCH: &str = r#"echo "$$" > "$0/pid.new" && mv "$0/pid.new" "$0/pid" && exec "$@""#;

/// One server at a time, its directory and its guardian.
pub(crate) struct Private {
    directory: PathBuf,
    signal: &'static str,
    running: Mutex<Option<Child>>,
    guardian: Guardian,
}

impl Private {
    /// `signal` ends the server at once and without a trace outside its directory.
    pub(crate) fn new(name: &str, signal: &'static str) -> Self {
        let directory = env::temp_dir().join(format!("quillwork-{name}-{}", Uuid::now_v7().simple()));
        // The guardian first, so that there is no moment at which the directory could stay behind.
        let guardian = Guardian::watch(&directory, signal);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", directory.display()));
        give_away(&directory);
        Self { directory, signal, running: Mutex::new(None), guardian }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a file that the server may read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let file = self.directory.join(name);
        fs::write(&file, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
        give_away(&file);
    }

    /// Everything the server has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read(self.directory.join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Runs a program to its end, as the server's user.
    pub(crate) fn run(&self, program: &Path, args: &[&str]) {
        let mut running = self.running();
        let child = running.insert(self.spawn(program, args));
        let status = child.wait().unwrap();
        *running = None;
        assert!(status.success(), "{} ended with {status}:\n{}", program.display(), self.log());
    }

    /// Starts the server and waits until `ready` says of its pid that it serves.
    /// An error is the log of a server that ended instead.
    pub(crate) fn start(
        &self,
        program: &Path,
        args: &[&str],
        ready: impl Fn(u32) -> bool,
    ) -> Result<(), String> {
        let mut running = self.running();
        assert!(running.is_none(), "{} already runs", program.display());
        self.write("log", "");
        let child = running.insert(self.spawn(program, args));
        let deadline = Instant::now() + PATIENCE;
        while !ready(child.id()) {
            if let Some(status) = child.try_wait().unwrap() {
                *running = None;
                return Err(format!("{} ended with {status}:\n{}", program.display(), self.log()));
            }
            assert!(Instant::now() < deadline, "{} does not get ready:\n{}", program.display(), self.log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends the server at once. Returns when it is gone.
    pub(crate) fn stop(&self) {
        let mut running = self.running();
        let child = running.as_mut().expect("the server is already stopped");
        let kill = Command::new("kill").args(["-s", self.signal, &child.id().to_string()]).status();
        assert!(kill.unwrap().success(), "cannot stop the server");
        child.wait().unwrap();
        *running = None;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running().as_ref().expect("the server is stopped").id()
    }

    fn spawn(&self, program: &Path, args: &[&str]) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.directory.join("log")).unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", LAUNCH])
            .arg(&self.directory)
            .arg(program)
            .args(args)
            .current_dir(&self.directory)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        if let Some(account) = account::of_servers() {
            command.uid(account.uid).gid(account.gid);
        }
        command.spawn().expect("cannot run sh")
    }

    /// A panic under the lock leaves a child that can still be ended.
    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.guardian.end();
        if let Some(mut child) = self.running().take() {
            // Already dead, unless somebody ended the guardian.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Makes it the server's.
fn give_away(path: &Path) {
    if let Some(account) = account::of_servers() {
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .unwrap_or_else(|error| panic!("cannot give {} away: {error}", path.display()));
    }
}

/// Starts on ports until one was not taken in the meantime.
pub(crate) fn on_a_free_port(start: impl Fn(u16) -> Result<(), String>) -> u16 {
    let mut last = String::new();
    for _ in 0..RACES {
        let port = port::free();
        match start(port) {
            Ok(()) => return port,
            Err(log) => last = log,
        }
    }
    panic!("a server does not start on any of {RACES} free ports; last: {last}")
}
