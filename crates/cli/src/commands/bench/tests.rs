//! Loads on a fake server, by a clock that stands still while anybody has something to do: every latency is exact.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::client::{self, Load, Work};
use super::collect::{Measured, collect};
use super::completions;
use super::connection::Target;
use super::schedule::Schedule;

/// What ails the server between two moments, counted from its start.
#[derive(Clone, Copy)]
enum Ailment {
    /// It takes requests and answers none of them until the end.
    Stalls,
    /// It turns requests away for a second.
    IsBusy,
}

/// A server that answers at once but for what ails it, and completes each job 3 ms after its answer.
#[derive(Clone)]
struct Fake {
    start: Instant,
    ailing: std::ops::Range<Duration>,
    ailment: Ailment,
    completed: broadcast::Sender<Uuid>,
}

const WORK: Duration = Duration::from_millis(3);

impl Fake {
    /// Serves every connection that is made to the target.
    fn start(ailment: Ailment, from: u64, to: u64, tasks: &mut JoinSet<()>) -> Target {
        let fake = Self {
            start: Instant::now(),
            ailing: Duration::from_millis(from)..Duration::from_millis(to),
            ailment,
            completed: broadcast::Sender::new(1_000),
        };
        let (target, mut connections) = mpsc::unbounded_channel();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Some(connection) = connections.recv().await {
                serving.spawn(fake.clone().serve(connection));
            }
        });
        Target::fake(target)
    }

    async fn serve(self, connection: DuplexStream) {
        let mut connection = BufReader::new(connection);
        loop {
            let mut head = Vec::new();
            let mut length = 0;
            while !head.ends_with(b"\r\n\r\n") {
                let line = head.len();
                if connection.read_until(b'\n', &mut head).await.unwrap() == 0 {
                    return;
                }
                if let Some(n) = head[line..].strip_prefix(b"content-length: ") {
                    length = str::from_utf8(n).unwrap().trim().parse().unwrap();
                }
            }
            connection.read_exact(&mut vec![0; length]).await.unwrap();
            if head.starts_with(b"GET /v1/events") {
                return self.stream(connection).await;
            }
            let answer = if self.ailing.contains(&self.start.elapsed()) {
                match self.ailment {
                    Ailment::Stalls => {
                        tokio::time::sleep_until(self.start + self.ailing.end).await;
                        self.accept()
                    }
                    Ailment::IsBusy => {
                        "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n".into()
                    }
                }
            } else {
                self.accept()
            };
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn accept(&self) -> String {
        let job = Uuid::now_v7();
        let completed = self.completed.clone();
        tokio::spawn(async move {
            tokio::time::sleep(WORK).await;
            // A load of queries does not listen.
            let _ = completed.send(job);
        });
        let body = format!("{{\"id\":\"{job}\"}}");
        format!("HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    async fn stream(self, mut connection: BufReader<DuplexStream>) {
        let mut completed = self.completed.subscribe();
        connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while let Ok(job) = completed.recv().await {
            let message =
                format!("id: 1\nevent: JobCompleted\ndata: {{\"position\":1,\"stream\":\"job-{job}\"}}\n\n");
            connection.write_all(message.as_bytes()).await.unwrap();
        }
    }
}

/// A hundred requests, one every 10 ms.
async fn on_schedule(target: Target, work: Work, clients: usize, tasks: &mut JoinSet<()>) -> Measured {
    let (notes, mut inbox) = mpsc::channel(10);
    if matches!(work, Work::Submit { .. }) {
        tasks.spawn(completions::follow(target.clone(), 0, notes.clone()));
    }
    client::start(
        Load { target, work, clients, schedule: Schedule::new(100, 1, Some(100.0)) },
        &notes,
        tasks,
    );
    collect(&mut inbox, 100, clients, Duration::from_secs(60)).await
}

fn submissions() -> Work {
    Work::Submit { pipeline: "echo".into(), batch: 1 }
}

/// Latencies in ms at some quantiles.
fn quantiles(micros: &hdrhistogram::Histogram<u64>) -> [u64; 5] {
    [0.5, 0.51, 0.75, 0.99, 1.0].map(|quantile| (micros.value_at_quantile(quantile) + 500) / 1_000)
}

/// From 300 to 800 ms nothing is answered: whoever keeps to the schedule suffers 500 ms, then 490, and so on to 10, and
/// the other half of the requests nothing. A generator that waits for the answer would have seen one slow request.
#[tokio::test(start_paused = true)]
async fn a_stalled_server_shows_in_the_percentiles_however_few_the_connections() {
    for (clients, overdue) in [(1, 49), (10, 40), (64, 0)] {
        let mut tasks = JoinSet::new();
        let target = Fake::start(Ailment::Stalls, 295, 800, &mut tasks);
        let measured = on_schedule(target, submissions(), clients, &mut tasks).await;
        assert_eq!((measured.completed, measured.requests.len()), (100, 100));
        assert_eq!(quantiles(&measured.requests), [0, 10, 250, 490, 500], "{clients} clients");
        assert_eq!(quantiles(&measured.end_to_end), [3, 13, 253, 493, 503], "{clients} clients");
        assert_eq!(measured.overdue, overdue, "{clients} clients");
        assert_eq!(measured.timer_late.max(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn queries_keep_to_the_schedule_too() {
    let mut tasks = JoinSet::new();
    let target = Fake::start(Ailment::Stalls, 295, 800, &mut tasks);
    let measured = on_schedule(target, Work::Query(vec![Uuid::nil()]), 1, &mut tasks).await;
    assert_eq!((measured.shown, measured.accepted, measured.overdue), (100, 0, 49));
    assert_eq!(quantiles(&measured.requests), [0, 10, 250, 490, 500]);
}

/// The one request that is turned away at 300 ms is repeated a second later, when all others have become due.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_turned_away_counts_until_it_is_taken() {
    let mut tasks = JoinSet::new();
    let target = Fake::start(Ailment::IsBusy, 295, 305, &mut tasks);
    let measured = on_schedule(target, submissions(), 1, &mut tasks).await;
    assert_eq!((measured.completed, measured.overdue), (100, 69));
    assert_eq!(measured.requests.max() / 1_000, 1_000);
    assert_eq!(measured.errors.get("HTTP 503"), Some(&1));
}
