//! The clients: they submit until all jobs are accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::collect::Note;
use super::connection::{CallError, Connection, Target};

/// Pause after a connection broke.
const RECONNECT: Duration = Duration::from_millis(100);

/// What the clients do together.
pub(super) struct Load {
    pub(super) target: Target,
    pub(super) pipeline: String,
    pub(super) jobs: u64,
    pub(super) clients: usize,
    /// Jobs in a request.
    pub(super) batch: u64,
    /// Jobs per second; None for as fast as answers come.
    pub(super) rate: Option<f64>,
}

/// Starts the clients in `tasks`; they report to `notes` and end when all jobs are submitted.
pub(super) fn start(load: Load, notes: &UnboundedSender<Note>, tasks: &mut JoinSet<()>) {
    let load = Arc::new(load);
    let next = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    for _ in 0..load.clients {
        let client =
            Client { load: load.clone(), next: next.clone(), begin, notes: notes.clone(), connection: None };
        tasks.spawn(client.run());
    }
}

struct Client {
    load: Arc<Load>,
    next: Arc<AtomicU64>,
    begin: Instant,
    notes: UnboundedSender<Note>,
    connection: Option<Connection>,
}

impl Client {
    async fn run(mut self) {
        // Connecting is not part of submitting.
        self.connection = self.load.target.connect().await.ok();
        loop {
            let ticket = self.next.fetch_add(self.load.batch, Ordering::Relaxed);
            if ticket >= self.load.jobs {
                return;
            }
            let n_jobs = self.load.batch.min(self.load.jobs - ticket);
            let started = self.wait_for_turn(ticket).await;
            self.submit(ticket, n_jobs, started).await;
        }
    }

    /// Waits until the ticket is due; returns when the request counts as started.
    ///
    /// A client that is late because all were busy counts from the schedule: the wait is the server's. The lateness of
    /// our own timer is not.
    async fn wait_for_turn(&self, ticket: u64) -> Instant {
        let Some(rate) = self.load.rate else { return Instant::now() };
        #[expect(clippy::cast_precision_loss, reason = "a schedule good to the nanosecond for years")]
        let due = self.begin + Duration::from_secs_f64(ticket as f64 / rate);
        if Instant::now() >= due {
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }

    /// Submits until the server has taken the jobs or refused them for good.
    async fn submit(&mut self, ticket: u64, n_jobs: u64, started: Instant) {
        let (path, body) = self.request(ticket, n_jobs);
        loop {
            let error = match self.call(path, body.clone()).await {
                Ok(answer) => {
                    let ids = ids(&answer);
                    let answered = Instant::now();
                    let refused = n_jobs.saturating_sub(ids.len() as u64);
                    // Nobody listens any more once the patience is at its end.
                    let _ = self.notes.send(Note::Accepted { ids, started, answered });
                    if refused > 0 {
                        let _ =
                            self.notes.send(Note::Refused { kind: "refused in batch".into(), jobs: refused });
                    }
                    return;
                }
                Err(error) => error,
            };
            match error {
                CallError::Busy { status, retry_after } => {
                    let _ = self.notes.send(Note::Trouble(format!("HTTP {}", status.as_u16())));
                    tokio::time::sleep(retry_after).await;
                }
                CallError::Refused(status) => {
                    let kind = format!("HTTP {}", status.as_u16());
                    let _ = self.notes.send(Note::Refused { kind, jobs: n_jobs });
                    return;
                }
                CallError::Broken(what) => {
                    let _ = self.notes.send(Note::Trouble(format!("broken {what}")));
                    self.connection = None;
                    tokio::time::sleep(RECONNECT).await;
                }
            }
            if self.notes.is_closed() {
                return;
            }
        }
    }

    async fn call(&mut self, path: &str, body: Bytes) -> Result<Bytes, CallError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.load.target.connect().await?),
        };
        connection.post(path, body).await
    }

    fn request(&self, ticket: u64, n_jobs: u64) -> (&'static str, Bytes) {
        let job =
            |n: u64| serde_json::json!({ "topic": format!("bench {n}"), "pipeline": self.load.pipeline });
        if self.load.batch == 1 {
            ("/v1/jobs", job(ticket).to_string().into())
        } else {
            let jobs: Vec<_> = (ticket..ticket + n_jobs).map(job).collect();
            ("/v1/jobs/batch", serde_json::json!({ "jobs": jobs }).to_string().into())
        }
    }
}

/// The ids of the accepted jobs. Found by their shape: parsing all of the answer would cost more than the request.
fn ids(answer: &[u8]) -> Vec<u128> {
    const KEY: &[u8] = b"\"id\":\"";
    let mut ids = Vec::with_capacity(1);
    let mut rest = answer;
    while let Some(at) = find(rest, KEY) {
        rest = &rest[at + KEY.len()..];
        ids.extend(rest.get(..36).and_then(|id| Uuid::try_parse_ascii(id).ok()).map(|id| id.as_u128()));
    }
    ids
}

/// Where `needle` begins.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found() {
        let id = "019ea1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
        let answer = format!(
            r#"{{"jobs":[{{"id":"{id}","status":"queued"}},{{"problem":{{"id":"x"}}}},{{"id":"{id}"}}]}}"#
        );
        assert_eq!(ids(answer.as_bytes()), [Uuid::parse_str(id).unwrap().as_u128(); 2]);
    }
}
