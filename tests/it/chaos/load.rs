//! Clients that never give up: each repeats a request with the same key until it is acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use quillwork_domain::id::JobId;
use quillwork_domain::time::Timestamp;
use quillwork_tests::fleet::Url;
use quillwork_tests::invariants::Acknowledged;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a client waits for one answer. A paused process gives none.
const ANSWER: Duration = Duration::from_millis(2_500);

/// Nobody needs longer to get a request through, whatever happens.
const STUBBORN: Duration = Duration::from_secs(120);

/// What the clients did, and what they did not expect.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) acknowledged: Mutex<Vec<Acknowledged>>,
    pub(super) odd: Mutex<Vec<String>>,
    pub(super) n_requests: AtomicU64,
    pub(super) n_repeats: AtomicU64,
    pub(super) n_cancelled: AtomicU64,
    pub(super) n_retried: AtomicU64,
}

impl Tally {
    fn odd(&self, what: String) {
        self.odd.lock().unwrap().push(what);
    }

    fn acknowledge(&self, key: &str, job: &Value) {
        match job["id"].as_str().and_then(|id| id.parse().ok()) {
            Some(job) => {
                let acknowledged = Acknowledged { key: key.to_owned(), job };
                self.acknowledged.lock().unwrap().push(acknowledged);
            }
            None => self.odd(format!("key {key} was acknowledged without an id: {job}")),
        }
    }

    fn any_job(&self, rng: &mut Rng) -> Option<JobId> {
        let acknowledged = self.acknowledged.lock().unwrap();
        let recent = acknowledged.len().saturating_sub(100);
        rng.choice(&acknowledged[recent..]).map(|acknowledged| acknowledged.job)
    }
}

/// Clients at work.
pub(super) struct Load {
    pub(super) tally: Arc<Tally>,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Load {
    pub(super) fn start(n_clients: u64, seed: u64, apis: &[Url]) -> Self {
        let tally = Arc::new(Tally::default());
        let stop = watch::Sender::new(false);
        let mut clients = JoinSet::new();
        for n in 0..n_clients {
            let client = Client {
                n,
                apis: apis.to_vec(),
                http: reqwest::Client::builder().timeout(ANSWER).build().unwrap(),
                tally: tally.clone(),
            };
            let rng = Rng::with_seed(seed.wrapping_add(n + 1));
            clients.spawn(client.run(rng, stop.subscribe()));
        }
        Self { tally, stop, clients }
    }

    /// Ends when every request that was begun has its answer.
    pub(super) async fn finish(mut self) -> Arc<Tally> {
        self.stop.send_replace(true);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        self.tally
    }
}

struct Client {
    n: u64,
    apis: Vec<Url>,
    http: reqwest::Client,
    tally: Arc<Tally>,
}

/// A request that can be sent again.
struct Call<'a> {
    method: Method,
    path: String,
    key: Option<&'a str>,
    body: Option<Value>,
}

impl Client {
    async fn run(self, mut rng: Rng, stop: watch::Receiver<bool>) {
        let mut n_keys = 0;
        let mut next_key = || {
            n_keys += 1;
            format!("client-{}-{n_keys}", self.n)
        };
        while !*stop.borrow() {
            match rng.u32(..100) {
                0..55 => {
                    let key = next_key();
                    let job = job(&mut rng, &key);
                    self.submit(&mut rng, &key, job).await;
                }
                55..60 => {
                    // The same job twice at the same time, as impatient clients do.
                    let key = next_key();
                    let job = job(&mut rng, &key);
                    let (mut one, mut two) = (rng.fork(), rng.fork());
                    tokio::join!(self.submit(&mut one, &key, job.clone()), self.submit(&mut two, &key, job));
                }
                60..75 => {
                    let keys = (0..rng.usize(2..=20)).map(|_| next_key()).collect();
                    self.submit_batch(&mut rng, keys).await;
                }
                75..85 => self.look(&mut rng).await,
                85..92 => self.cancel(&mut rng).await,
                _ => self.retry(&mut rng).await,
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(100..1_000))).await;
        }
    }

    async fn submit(&self, rng: &mut Rng, key: &str, job: Value) {
        let call = Call { method: Method::POST, path: "/v1/jobs".into(), key: Some(key), body: Some(job) };
        let Some((status, answer)) = self.insist(rng, &call).await else { return };
        if status == StatusCode::ACCEPTED {
            self.tally.acknowledge(key, &answer);
        } else {
            self.tally.odd(format!("submitting {key} was answered {status}: {answer}"));
        }
    }

    async fn submit_batch(&self, rng: &mut Rng, keys: Vec<String>) {
        let mut jobs: BTreeMap<String, Value> = keys
            .into_iter()
            .map(|key| {
                let mut job = job(rng, &key);
                job["idempotency_key"] = json!(key);
                (key, job)
            })
            .collect();
        while !jobs.is_empty() {
            let body = json!({"jobs": jobs.values().collect::<Vec<_>>()});
            let call =
                Call { method: Method::POST, path: "/v1/jobs/batch".into(), key: None, body: Some(body) };
            let Some((status, answer)) = self.insist(rng, &call).await else { return };
            let answers = answer["jobs"].as_array().cloned().unwrap_or_default();
            if status != StatusCode::ACCEPTED || answers.len() != jobs.len() {
                return self.tally.odd(format!("a batch was answered {status}: {answer}"));
            }
            let sent: Vec<String> = jobs.keys().cloned().collect();
            for (key, answer) in sent.into_iter().zip(answers) {
                match answer["problem"]["status"].as_u64() {
                    None => {
                        self.tally.acknowledge(&key, &answer);
                        jobs.remove(&key);
                    }
                    // What was not taken this time is sent again.
                    Some(429 | 503) => {}
                    Some(_) => return self.tally.odd(format!("{key} of a batch was refused: {answer}")),
                }
            }
        }
    }

    /// What was acknowledged can be read, from any process.
    async fn look(&self, rng: &mut Rng) {
        let Some(job) = self.tally.any_job(rng) else { return };
        let call = Call { method: Method::GET, path: format!("/v1/jobs/{job}"), key: None, body: None };
        match self.insist(rng, &call).await {
            Some((StatusCode::OK, answer)) if answer["id"] == job.to_string() => {}
            Some((status, answer)) => {
                self.tally.odd(format!("reading the acknowledged job {job} was answered {status}: {answer}"));
            }
            None => {}
        }
    }

    async fn cancel(&self, rng: &mut Rng) {
        let Some(job) = self.tally.any_job(rng) else { return };
        if self.command(rng, job, "cancel").await {
            self.tally.n_cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sets a job going again that has failed or was cancelled.
    async fn retry(&self, rng: &mut Rng) {
        let status = rng.choice(["failed", "failed", "cancelled"]).unwrap();
        let path = format!("/v1/jobs?status={status}&limit=50");
        let call = Call { method: Method::GET, path, key: None, body: None };
        let Some((_, page)) = self.insist(rng, &call).await else { return };
        let jobs = page["items"].as_array().cloned().unwrap_or_default();
        let Some(job) = rng.choice(&jobs).and_then(|job| job["id"].as_str()?.parse().ok()) else { return };
        if self.command(rng, job, "retry").await {
            self.tally.n_retried.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives a command to a job; false if its state forbids it.
    async fn command(&self, rng: &mut Rng, job: JobId, command: &str) -> bool {
        let path = format!("/v1/jobs/{job}/{command}");
        let call = Call { method: Method::POST, path, key: None, body: None };
        match self.insist(rng, &call).await {
            Some((StatusCode::ACCEPTED, _)) => true,
            Some((StatusCode::CONFLICT, _)) | None => false,
            Some((status, answer)) => {
                self.tally.odd(format!("{command} of job {job} was answered {status}: {answer}"));
                false
            }
        }
    }

    /// Sends until there is an answer that is not about the moment; None if there is none for very long.
    async fn insist(&self, rng: &mut Rng, call: &Call<'_>) -> Option<(StatusCode, Value)> {
        let deadline = Instant::now() + STUBBORN;
        let mut last = "no API listened".to_owned();
        self.tally.n_requests.fetch_add(1, Ordering::Relaxed);
        while Instant::now() < deadline {
            let api = rng.choice(&self.apis).and_then(|api| api.borrow().clone());
            let pause = match api {
                None => Duration::from_millis(50),
                Some(api) => match self.send(&api, call).await {
                    Ok(answer) => return Some(answer),
                    Err((why, pause)) => {
                        self.tally.n_repeats.fetch_add(1, Ordering::Relaxed);
                        last = why;
                        pause
                    }
                },
            };
            tokio::time::sleep(pause.mul_f64(0.5 + rng.f64())).await;
        }
        self.tally.odd(format!("{} {} had no answer for {STUBBORN:?}; last: {last}", call.method, call.path));
        None
    }

    /// Sends once. An error is why to send again, and how long to wait before.
    async fn send(&self, api: &str, call: &Call<'_>) -> Result<(StatusCode, Value), (String, Duration)> {
        let mut request = self.http.request(call.method.clone(), format!("{api}{}", call.path));
        if let Some(key) = call.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let broken = |error: reqwest::Error| (format!("{error:?}"), Duration::from_millis(50));
        let answer = request.send().await.map_err(broken)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body: Value = answer.json().await.map_err(broken)?;
        if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
            return Ok((status, body));
        }
        let retry_after = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        if status == StatusCode::INTERNAL_SERVER_ERROR || retry_after.is_none() {
            let (method, path) = (&call.method, &call.path);
            self.tally
                .odd(format!("{method} {path} was answered {status}, Retry-After {retry_after:?}: {body}"));
        }
        // Within reason: a test has no time to be as polite as it is asked to be.
        let pause = Duration::from_secs(retry_after.unwrap_or(1)).min(Duration::from_millis(700));
        Err((format!("{status}: {body}"), pause))
    }
}

/// A job of some kind.
fn job(rng: &mut Rng, key: &str) -> Value {
    let mut job = json!({"topic": format!("chaos {key}"), "priority": rng.i8(-3..=3)});
    job["pipeline"] = rng.choice(["echo", "quick", "quick"]).unwrap().into();
    let echo = match rng.u32(..100) {
        0..60 => json!({"delay_ms": rng.u32(..40)}),
        60..75 => json!({"delay_ms": rng.u32(100..800)}),
        // Longer than a lease.
        75..79 => json!({"delay_ms": rng.u32(2_500..5_000)}),
        79..88 => json!({"fail_attempts": rng.u32(1..=2)}),
        // The job fails; set going again it succeeds.
        88..92 => json!({"fail_attempts": 3}),
        92..94 => json!({"panic_attempts": 1}),
        _ => json!({"bytes": rng.u32(20_000..300_000)}),
    };
    job["settings"] = json!({"echo": echo});
    if rng.u32(..100) < 4 {
        let run_at = now().plus(Duration::from_millis(rng.u64(..3_000)));
        job["run_at"] = json!(run_at);
    }
    job
}

/// The time by the clock of this process, which is that of the database.
pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}
