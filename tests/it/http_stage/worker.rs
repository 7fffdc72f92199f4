//! The worker in Python that `docs/own-stage.md` shows, behind the real binary.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use quillwork_tests::outside::start;
use quillwork_tests::server::{run, text};
use serde_json::{Value, json};

use super::{SECRET, classes};

/// Killed when dropped.
struct Worker {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Worker {
    fn start(secret: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("own-stage/worker.py");
        let mut command = Command::new("python3");
        command.arg(script).arg("0").env("QUILLWORK_SECRET", secret).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("this test needs python3 (apt-get install --yes python3): {error}")
        });
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = said.next().unwrap().unwrap();
        let url = first.strip_prefix("listening on ").unwrap().to_owned();
        Self { child, said, url }
    }

    /// The next line that it says.
    fn says(&mut self) -> String {
        self.said.next().unwrap().unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(dir: &Path, worker: &Worker) -> std::path::PathBuf {
    let path = dir.join("quillwork.toml");
    let text = format!(
        "[stages.summarise]\nhttp = {{ url = '{}', secret = '{SECRET}' }}\n\n\
         [pipelines.summary]\nstages = ['research', 'summarise']\n",
        worker.url
    );
    std::fs::write(&path, text).unwrap();
    path
}

const JOB: &str = r#"{"topic": "crash recovery and leases", "pipeline": "summary", "settings": {"summarise": {"max_sentences": 3}}}"#;

#[tokio::test]
async fn a_worker_in_another_language_does_a_stage() {
    let mut worker = Worker::start(SECRET);
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &config(dir.path(), &worker));
    let id = server.submit(serde_json::from_str(JOB).unwrap()).await;
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "completed", "{job}");
    let result = server.client.get(format!("{}/v1/jobs/{id}/result", server.url)).send().await.unwrap();
    let summary = result.text().await.unwrap();
    assert!(summary.starts_with("# crash recovery and leases\n\n- "), "{summary}");
    assert!((1..=3).contains(&summary.matches("\n- ").count()), "{summary}");
    assert_eq!(worker.says(), format!("done {id}:summarise:1"));
}

#[tokio::test]
async fn a_worker_refuses_who_does_not_know_the_secret() {
    let mut worker = Worker::start("another-secret-altogether");
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &config(dir.path(), &worker));
    let id = server.submit(serde_json::from_str(JOB).unwrap()).await;
    let job = server.ended(&id).await;
    assert_eq!(classes(&server, &id).await, ["permanent"]);
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("answered 401 Unauthorized: the signature is wrong or too old"), "{message}");
    assert_eq!(worker.says(), "refused 401 the signature is wrong or too old");
    let log = std::fs::read_dir(dir.path().join("data")).unwrap();
    for file in log.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!found, "the secret is in {}", file.display());
    }
}

#[test]
fn the_secret_is_not_shown() {
    let worker = Worker::start(SECRET);
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &worker);
    for json in [&[][..], &["--json"]] {
        let args = [&["config", "show", "--config", config.to_str().unwrap()][..], json].concat();
        let shown = run(&args);
        let shown = text(&shown.stdout);
        assert!(shown.contains("stages.summarise.http.secret") && shown.contains("***"), "{shown}");
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

/// What the worker knows of signatures and of repeated calls, asked directly.
#[tokio::test]
async fn the_worker_does_the_same_work_once_and_refuses_old_requests() {
    let mut worker = Worker::start(SECRET);
    let body = json!({
        "job": "j", "stage": "summarise", "attempt": 1, "round": 1, "topic": "tea", "settings": null,
        "outputs": [{"sources": [{"title": "Tea", "passages": [{"text": "Tea is a drink. It is hot."}]}]}],
        "feedback": [], "idempotency_key": "j:summarise:1",
    });
    let body = body.to_string();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let ask = async |at: u64, signed: &str| {
        let signature = sign(at, signed);
        let request = reqwest::Client::new().post(&worker.url).header("x-quillwork-signature", signature);
        let response = request.body(body.clone()).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, first) = ask(now, &body).await;
    assert_eq!((status, &first["markdown"]), (200, &json!("# tea\n\n- Tea is a drink. (Tea)\n")));
    assert_eq!(ask(now, &body).await, (200, first), "the answer from before");
    for (at, signed) in [(now - 3_600, body.as_str()), (now + 3_600, &body), (now, "{}")] {
        assert_eq!(ask(at, signed).await.0, 401, "{at} {signed}");
    }
    assert_eq!([worker.says(), worker.says()], ["done j:summarise:1", "repeated j:summarise:1"]);
}

/// As `docs/own-stage.md` says it is made, by another implementation than ours.
fn sign(at: u64, body: &str) -> String {
    let mut python = Command::new("python3")
        .args(["-c", "import hmac,sys; print(hmac.new(sys.argv[1].encode(), sys.argv[2].encode(), 'sha256').hexdigest())"])
        .args([SECRET, &format!("{at}.{body}")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut hex = String::new();
    std::io::Read::read_to_string(python.stdout.as_mut().unwrap(), &mut hex).unwrap();
    python.wait().unwrap();
    format!("t={at},v1={}", hex.trim())
}
