//! One place in a fleet: a process, and after its end the next one.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::server::command;
use crate::stack::PATIENCE;

/// Where a process listens; None while there is none that does.
pub type Url = watch::Receiver<Option<String>>;

/// A process of a fleet, or the place for one; killed when dropped.
pub struct Member {
    pub name: String,
    role: &'static str,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    /// Reads what the present process says, until its end.
    reader: Option<JoinHandle<()>>,
    started_at: Instant,
    url: watch::Sender<Option<String>>,
    /// What the present process has logged.
    log: watch::Sender<String>,
}

impl Member {
    pub(super) fn new(
        role: &'static str,
        name: &str,
        directory: &Path,
        environment: Vec<(String, String)>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            role,
            directory: directory.to_owned(),
            environment,
            child: None,
            reader: None,
            started_at: Instant::now(),
            url: watch::Sender::new(None),
            log: watch::Sender::new(String::new()),
        }
    }

    /// Each process of this place gets a variable.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives each process of this place a clock that is `seconds` ahead, or behind if negative. Only the time of day is
    /// wrong, as on a machine that lost its time server; how long something takes is not.
    pub fn with_clock(self, seconds: i64) -> Self {
        let library = faketime();
        self.set("LD_PRELOAD", library.to_str().unwrap())
            .set("FAKETIME", &format!("{seconds:+}"))
            .set("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .set("DONT_FAKE_MONOTONIC", "1")
    }

    /// Starts a process and does not wait for anything.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let mut command = command(&[self.role, "--config", "quillwork.toml"]);
        command.current_dir(&self.directory).envs(self.environment.iter().cloned());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        self.started_at = Instant::now();
        self.child = Some(child);
        self.url.send_replace(None);
        self.log.send_replace(String::new());
        let log = self.directory.join(format!("{}.log", self.name));
        let file = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let (url, log) = (self.url.clone(), self.log.clone());
        self.reader = Some(std::thread::spawn(move || follow(stderr, file, &url, &log)));
    }

    /// Starts a process and waits until it has said that it works.
    pub async fn start_and_wait(&mut self) {
        self.start();
        self.said("\"message\":\"started\"").await;
    }

    /// Waits until the present process has logged `text`.
    pub async fn said(&self, text: &str) {
        self.said_one_of(&[text]).await;
    }

    /// Waits until the present process has logged one of `texts`.
    pub async fn said_one_of(&self, texts: &[&str]) {
        let mut log = self.log.subscribe();
        let said = log.wait_for(|log| texts.iter().any(|text| log.contains(text)));
        let in_time = tokio::time::timeout(PATIENCE, said).await.is_ok_and(|said| said.is_ok());
        assert!(
            in_time,
            "{} should say one of {texts:?}; it said:\n{}",
            self.name,
            self.log.borrow().as_str()
        );
    }

    /// What the present process, or the last one, has logged.
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// True if the present process has said that it works.
    pub fn has_started(&self) -> bool {
        self.log.borrow().contains("\"message\":\"started\"")
    }

    pub fn started_at(&self) -> Instant {
        self.started_at
    }

    /// Where the present process listens; follows the place from process to process.
    pub fn url(&self) -> Url {
        self.url.subscribe()
    }

    /// Where the present process listens, once it does.
    pub async fn base(&self) -> String {
        let mut url = self.url();
        let url = tokio::time::timeout(PATIENCE, url.wait_for(Option::is_some)).await;
        let url = url.unwrap_or_else(|_| panic!("{} does not listen; it said:\n{}", self.name, self.log()));
        url.unwrap().clone().unwrap()
    }

    /// Waits until `/readyz` says that the process should get requests.
    pub async fn ready(&self) {
        let client = reqwest::Client::new();
        let mut last = String::new();
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            let asked = client.get(format!("{}/readyz", self.base().await)).send().await;
            match asked {
                Ok(answer) if answer.status() == 200 => return,
                Ok(answer) => last = answer.text().await.unwrap_or_default(),
                Err(error) => last = format!("{error:?}; before that: {last}"),
            }
            assert!(Instant::now() < deadline, "{} does not get ready: {last}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// `kill -9`; a stopped process dies as well.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        child.kill().unwrap();
        child.wait().unwrap();
        forget_clock(child.id());
        self.gone();
    }

    /// `STOP`: it does nothing until it gets `CONT`.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// `CONT`.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Sends `TERM` and waits for the end; the exit status is None if it does not end in time.
    pub async fn terminate(&mut self) -> Option<ExitStatus> {
        self.signal("TERM");
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            let ended = self.try_wait();
            if ended.is_some() || Instant::now() > deadline {
                return ended;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The exit status of a process that has ended; after that there is none.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        let ended = self.child.as_mut()?.try_wait().unwrap();
        if ended.is_some() {
            self.child = None;
            self.gone();
        }
        ended
    }

    /// Hears the process out, so that its last words are not taken for those of the next one.
    fn gone(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.url.send_replace(None);
    }

    fn signal(&self, signal: &str) {
        let pid = self.pid().unwrap_or_else(|| panic!("{} does not run", self.name));
        let kill = std::process::Command::new("kill").args(["-s", signal, &pid.to_string()]).status();
        assert!(kill.unwrap().success(), "cannot send {signal} to {}", self.name);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// Copies a log to its file, and tells what it says. Ends with the process.
fn follow(
    stderr: impl BufRead,
    mut file: File,
    url: &watch::Sender<Option<String>>,
    log: &watch::Sender<String>,
) {
    for line in stderr.lines().map_while(Result::ok) {
        writeln!(file, "{line}").unwrap();
        if let Some(text) = line.split("listening on ").nth(1) {
            let end = text.find(|c: char| c == '"' || c.is_whitespace()).unwrap_or(text.len());
            url.send_replace(Some(text[..end].to_owned()));
        }
        log.send_modify(|log| {
            log.push_str(&line);
            log.push('\n');
        });
    }
}

/// The library that shifts the clock of a process.
fn faketime() -> PathBuf {
    let places = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = places.map(|place| place.path().join("faketime/libfaketime.so.1"));
    found
        .find(|library| library.is_file())
        .expect("libfaketime is not installed; run: apt-get install -y faketime")
}

/// A killed process leaves the shared memory of its shifted clock behind.
fn forget_clock(pid: u32) {
    for file in [format!("/dev/shm/faketime_shm_{pid}"), format!("/dev/shm/sem.faketime_sem_{pid}")] {
        // Most processes have none.
        let _ = std::fs::remove_file(Path::new(&file));
    }
}
