//! Finished jobs leave the log, on both stores, and everything else stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quillwork_test_servers::{Database, Postgres};
use quillwork_tests::server::{Server, run, text};
use quillwork_tests::stack::PATIENCE;
use serde_json::{Value, json};

/// A data directory, and the arguments that lead to the store.
struct Ground {
    dir: tempfile::TempDir,
    database: Option<Database>,
}

impl Ground {
    fn sqlite() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), database: None }
    }

    fn postgres() -> Self {
        Self { database: Some(Postgres::shared().database()), ..Self::sqlite() }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    fn store(&self) -> Vec<&str> {
        self.database.as_ref().map_or(vec![], |database| vec!["--store", database.url()])
    }

    fn server(&self, more: &[&str]) -> Server {
        Server::start(&self.data(), &[self.store(), more.to_vec()].concat())
    }

    /// Runs a command on the store; returns its exit code, and its output as JSON or else as text.
    fn command(&self, args: &[&str]) -> (i32, Value) {
        let data = self.data();
        let place = ["--data-dir", data.to_str().unwrap(), "--json"];
        let output = run(&[args, &self.store(), &place].concat());
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let value = serde_json::from_str(stdout.trim()).unwrap_or_else(|_| json!(stdout + &stderr));
        (output.status.code().unwrap(), value)
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> Value {
        let (code, value) = self.command(args);
        assert_eq!(code, 0, "{args:?}: {value:#}");
        value
    }

    /// Changes something behind everyone's back; the server is stopped.
    fn tamper(&self, sql: &str) {
        match &self.database {
            Some(database) => {
                let sql = sql.replace("archived_runs", "quillwork.archived_runs");
                let sql = sql
                    .replace("events", "quillwork.events")
                    .replace("ZEROS", "decode(repeat('00', 32), 'hex')");
                Postgres::shared().psql(database.name(), &sql);
            }
            None => {
                let log = self.data().join("log.db");
                rusqlite::Connection::open(log)
                    .unwrap()
                    .execute_batch(&sql.replace("ZEROS", "zeroblob(32)"))
                    .unwrap();
            }
        }
    }

    /// The rules that an audit finds broken.
    fn broken(&self) -> Vec<String> {
        let (code, report) = self.command(&["audit", "verify"]);
        assert_eq!(code, 1, "{report:#}");
        let findings = report["findings"].as_array().unwrap();
        findings.iter().map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect()
    }
}

/// The counters, without the positions that they belong to.
async fn stats(server: &Server) -> Value {
    let mut stats = server.get("/v1/stats").await;
    let members = stats.as_object_mut().unwrap();
    members.retain(|name, _| name == "jobs" || name == "stages");
    stats
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Completed jobs with keys between others, one cancelled, one that waits; returns those that end and the one that waits.
async fn work(server: &Server) -> (Vec<String>, String) {
    let mut ended = Vec::new();
    let later = json!({"topic": "later", "pipeline": "echo", "run_at": "2100-01-01T00:00:00Z"});
    let waits = server.submit(later.clone()).await;
    for n in 0..6 {
        let body = json!({"topic": format!("job {n}"), "pipeline": "echo", "labels": {"team": "blue"}});
        let request = server.client.post(format!("{}/v1/jobs", server.url)).json(&body);
        let response = request.header("Idempotency-Key", format!("key-{n}")).send().await.unwrap();
        let accepted: Value = response.json().await.unwrap();
        ended.push(accepted["id"].as_str().unwrap().to_owned());
    }
    let cancelled = server.submit(later).await;
    server.post(&format!("/v1/jobs/{cancelled}/cancel"), json!({})).await;
    ended.push(cancelled);
    for id in &ended {
        server.ended(id).await;
    }
    (ended, waits)
}

async fn finished_jobs_leave_and_the_chain_stays(ground: Ground) {
    let server = ground.server(&[]);
    let (ended, waits) = work(&server).await;
    let before = stats(&server).await;
    let n_before = ground_events(&server).await;
    assert_eq!(server.terminate(), Some(0));

    let archive = ground.archive();
    let pass = ["retention", "run", "--older-than", "1ms", "--archive-to", archive.to_str().unwrap()];
    let counted = ground.ok(&[&pass[..], &["--dry-run"]].concat());
    assert_eq!((&counted["jobs"], files_of(&archive)), (&json!(7), 0));
    let done = ground.ok(&pass);
    assert_eq!((&done["jobs"], &done["events"]), (&json!(7), &counted["events"]));
    let again = ground.ok(&pass);
    assert_eq!(again["jobs"], json!(0));

    let report = ground.ok(&["audit", "verify"]);
    assert_eq!(report["archived"], done["events"]);
    assert_eq!(report["events"].as_u64().unwrap(), n_before + 1 - done["events"].as_u64().unwrap());
    let [file] = &files(&archive)[..] else { panic!("{:?}", files(&archive)) };
    let whole = ground.ok(&["audit", "verify", "--archive", file.to_str().unwrap()]);
    assert_eq!((&whole["events"], &whole["jobs"]), (&done["events"], &json!(7)));
    let export = ground.dir.path().join("log.ndjson");
    ground.ok(&["audit", "export", "--out", export.to_str().unwrap()]);
    assert_eq!(
        ground.ok(&["audit", "verify", "--export", export.to_str().unwrap()])["events"],
        report["events"]
    );

    // A byte of the archive, and an archive that the log does not know.
    let bytes = fs::read(file).unwrap();
    let other = ground.dir.path().join("other.zst");
    fs::write(&other, [&bytes[..], b" "].concat()).unwrap();
    let (code, _) = ground.command(&["audit", "verify", "--archive", other.to_str().unwrap()]);
    assert_eq!(code, 1);

    let server = ground.server(&[]);
    // Caught up with what was archived while it was away.
    let position = report["head"].to_string();
    let shown = server.get(&format!("/v1/jobs?min_position={position}")).await;
    let items: Vec<&str> =
        shown["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(items, [waits.as_str()]);
    assert_eq!(stats(&server).await, before);
    for id in &ended {
        let gone = server.client.get(format!("{}/v1/jobs/{id}", server.url)).send().await.unwrap();
        assert_eq!(gone.status(), 404);
        let retried = server.post(&format!("/v1/jobs/{id}/retry"), json!({})).await;
        assert_eq!(retried.status(), 404);
    }
    // The key is free again, and new jobs run on.
    let body = json!({"topic": "job 0", "pipeline": "echo"});
    let request = server.client.post(format!("{}/v1/jobs", server.url)).json(&body);
    let response = request.header("Idempotency-Key", "key-0").send().await.unwrap();
    assert_eq!(response.status(), 202);
    let new: Value = response.json().await.unwrap();
    assert_eq!(server.ended(new["id"].as_str().unwrap()).await["status"], "completed");
    streams_across_holes(&server).await;
    let live = stats(&server).await;
    assert_eq!(server.terminate(), Some(0));

    ground.ok(&["rebuild"]);
    ground.ok(&["audit", "verify"]);
    let server = ground.server(&[]);
    assert_eq!(stats(&server).await, live);
    assert_eq!(server.get("/v1/jobs").await["items"].as_array().unwrap().len(), 2);
    assert_eq!(server.terminate(), Some(0));

    ground.tamper("UPDATE archived_runs SET hash = ZEROS WHERE last = (SELECT min(last) FROM archived_runs)");
    assert!(ground.broken().contains(&"archive".to_owned()));
}

fn files_of(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

async fn ground_events(server: &Server) -> u64 {
    let page = server.get("/v1/events?limit=1000").await;
    page["items"].as_array().unwrap().len() as u64
}

/// Every event of the log comes through the stream, in order, and the last of them.
async fn streams_across_holes(server: &Server) {
    let page = server.get("/v1/events?limit=1000").await;
    let positions: Vec<u64> =
        page["items"].as_array().unwrap().iter().map(|event| event["position"].as_u64().unwrap()).collect();
    let last = *positions.last().unwrap();
    assert!(last > positions.len() as u64, "there are holes: {positions:?}");
    let request =
        server.client.get(format!("{}/v1/events", server.url)).header("Accept", "text/event-stream");
    let mut stream = request.send().await.unwrap();
    let mut seen = String::new();
    let reading = async {
        while !seen.contains(&format!("id: {last}\n")) && !seen.contains(&format!("id:{last}\n")) {
            seen += &text(&stream.chunk().await.unwrap().unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    let ids: Vec<u64> =
        seen.lines().filter_map(|line| line.strip_prefix("id:")?.trim().parse().ok()).collect();
    assert_eq!(ids, positions);
}

async fn tampering_with_what_is_left_is_found(ground: Ground) {
    let server = ground.server(&[]);
    work(&server).await;
    assert_eq!(server.terminate(), Some(0));
    ground.ok(&["retention", "run", "--older-than", "1ms", "--drop"]);
    assert_eq!(ground.ok(&["audit", "verify"])["ok"], json!(true));
    assert_eq!(files_of(&ground.archive()), 0);
    ground.tamper("UPDATE events SET recorded_at = recorded_at + 1 WHERE position = 1");
    assert_eq!(ground.broken(), ["hash"]);
    ground.tamper("UPDATE events SET recorded_at = recorded_at - 1 WHERE position = 1");
    ground.tamper("DELETE FROM archived_runs WHERE last = (SELECT max(last) FROM archived_runs)");
    let broken = ground.broken();
    assert!(broken.contains(&"position".to_owned()) && broken.contains(&"archive".to_owned()), "{broken:?}");
}

async fn a_serving_process_archives_by_its_policy(ground: Ground) {
    let config = ground.dir.path().join("quillwork.toml");
    let policy = format!(
        "[retention]\nkeep = \"1ms\"\ninterval = \"100ms\"\narchive_dir = {:?}\n",
        ground.archive().to_str().unwrap()
    );
    fs::write(&config, policy).unwrap();
    let server = ground.server(&["--config", config.to_str().unwrap()]);
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(server.submit(json!({"topic": format!("job {n}"), "pipeline": "echo"})).await);
    }
    let leaving = async {
        loop {
            let stats = stats(&server).await;
            let shown = server.get("/v1/jobs").await;
            if stats["jobs"]["completed"] == json!(4) && shown["items"] == json!([]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(2 * PATIENCE, leaving).await.unwrap();
    // The work goes on meanwhile.
    let waits =
        server.submit(json!({"topic": "w", "pipeline": "echo", "run_at": "2100-01-01T00:00:00Z"})).await;
    assert_eq!(server.get(&format!("/v1/jobs/{waits}")).await["status"], "scheduled");
    assert_eq!(server.terminate(), Some(0));
    let report = ground.ok(&["audit", "verify"]);
    assert_eq!(report["jobs"], json!(1));
    let mut n_jobs = 0;
    for file in files(&ground.archive()) {
        let archive = ground.ok(&["audit", "verify", "--archive", file.to_str().unwrap()]);
        n_jobs += archive["jobs"].as_u64().unwrap();
    }
    assert_eq!(n_jobs, 4);
}

macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $case() { super::$case(super::Ground::sqlite()).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $case() { super::$case(super::Ground::postgres()).await; })*
        }
    };
}

on_both!(
    finished_jobs_leave_and_the_chain_stays,
    tampering_with_what_is_left_is_found,
    a_serving_process_archives_by_its_policy,
);

/// Beside a server that works on the same database.
#[tokio::test]
async fn by_hand_beside_a_running_server() {
    let ground = Ground::postgres();
    let server = ground.server(&[]);
    let (_, waits) = work(&server).await;
    // The server remembers the job that a key stands for.
    let body = json!({"topic": "stopped", "pipeline": "echo", "run_at": "2100-01-01T00:00:00Z"});
    let submit = || {
        let request = server.client.post(format!("{}/v1/jobs", server.url)).json(&body);
        request.header("Idempotency-Key", "stopped").send()
    };
    let accepted: Value = submit().await.unwrap().json().await.unwrap();
    let stopped = accepted["id"].as_str().unwrap();
    server.post(&format!("/v1/jobs/{stopped}/cancel"), json!({})).await;
    let replayed: Value = submit().await.unwrap().json().await.unwrap();
    assert_eq!(replayed["id"], stopped);
    let done = ground.ok(&["retention", "run", "--older-than", "1ms", "--drop"]);
    assert_eq!(done["jobs"], json!(8));
    assert_eq!(server.post(&format!("/v1/jobs/{stopped}/retry"), json!({})).await.status(), 404);
    let id = server.submit(json!({"topic": "after", "pipeline": "echo"})).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    let shown = server.get("/v1/jobs").await;
    let items: Vec<&str> =
        shown["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(items, [id.as_str(), waits.as_str()]);
    ground.ok(&["audit", "verify"]);
    assert_eq!(server.terminate(), Some(0));
    ground.ok(&["audit", "verify"]);
}
