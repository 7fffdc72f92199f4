//! The real binary as a process: `quillwork up` on a data directory and a port of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::stack::PATIENCE;

/// The binary, built once per test run with the profile of the tests.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.ancestors().nth(2).expect("tests run in target/<profile>/deps");
        let target = profile.parent().expect("a profile has a target directory");
        let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        build.args(["build", "--quiet", "--locked", "--package", "quillwork", "--target-dir"]).arg(target);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the binary should build");
        profile.join("quillwork")
    })
}

/// A command of the binary, without settings from the environment of the tests.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUILLWORK_") {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

/// Runs a command to its end.
pub fn run(args: &[&str]) -> Output {
    command(args).stdin(Stdio::null()).output().unwrap()
}

/// What a finished command wrote, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A serving process; killed when dropped.
pub struct Server {
    child: Child,
    pub url: String,
    pub client: reqwest::Client,
}

impl Server {
    /// Starts `up` and waits until it listens. Extra arguments come last.
    pub fn start(data_dir: &Path, args: &[&str]) -> Self {
        let data_dir = data_dir.to_str().unwrap();
        let mut all = vec!["up", "--data-dir", data_dir, "--listen", "127.0.0.1:0"];
        all.extend(args);
        let mut child = command(&all).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (found, listening) = mpsc::channel();
        // Reads to the end, so that the server never waits for a full pipe.
        std::thread::spawn(move || {
            let mut log = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(url) = line.split("listening on ").nth(1) {
                    let end = url.find(|c: char| c == '"' || c.is_whitespace()).unwrap_or(url.len());
                    let _ = found.send(url[..end].to_owned());
                }
                log.push_str(&line);
                log.push('\n');
            }
            drop(found);
            if std::env::var_os("QUILLWORK_TEST_LOGS").is_some() {
                eprint!("{log}");
            }
        });
        let url = listening.recv_timeout(PATIENCE).expect("the server should say where it listens");
        Self { child, url, client: reqwest::Client::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, waits, and returns its exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let kill = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
        assert!(kill.success());
        self.child.wait().unwrap().code()
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        response.json().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> reqwest::Response {
        self.client.post(format!("{}{path}", self.url)).json(&body).send().await.unwrap()
    }

    /// Submits a job and returns its id.
    pub async fn submit(&self, body: Value) -> String {
        let response = self.post("/v1/jobs", body).await;
        assert_eq!(response.status(), 202);
        let accepted: Value = response.json().await.unwrap();
        accepted["id"].as_str().unwrap().to_owned()
    }

    /// Submits a job for the `echo` pipeline with settings for its stages.
    pub async fn submit_echo(&self, settings: Value) -> String {
        self.submit(json!({"topic": "echo", "pipeline": "echo", "settings": {"echo": settings}})).await
    }

    /// Waits until the job has ended, and returns it.
    pub async fn ended(&self, id: &str) -> Value {
        let waiting = async {
            loop {
                let job = self.get(&format!("/v1/jobs/{id}?wait=20s")).await;
                if matches!(job["status"].as_str(), Some("completed" | "failed" | "cancelled")) {
                    return job;
                }
            }
        };
        tokio::time::timeout(2 * PATIENCE, waiting).await.expect("the job should end")
    }

    /// The kinds of a job's events.
    pub async fn kinds(&self, id: &str) -> Vec<String> {
        let events = self.get(&format!("/v1/jobs/{id}/events")).await;
        let items = events["items"].as_array().unwrap();
        items.iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(mut stdout) = self.child.stdout.take() {
            let _ = stdout.read_to_end(&mut Vec::new());
        }
    }
}
