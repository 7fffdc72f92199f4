//! The end of a process, as clients see it who move to another one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

use super::service::Service;

/// A service behind a socket.
struct Process {
    service: Service,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Process {
    async fn start() -> Self {
        let service = Service::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, shutdown) = (service.router.clone(), service.state.ops.shutdown.clone());
        let server = tokio::spawn(crate::serve(listener, router, 1_000, shutdown));
        Self { service, address, server }
    }

    async fn ended(self) -> Service {
        tokio::time::timeout(Duration::from_secs(30), self.server).await.unwrap().unwrap();
        self.service
    }
}

/// A connection that is kept.
struct Client(TcpStream);

struct Answer {
    status: u16,
    closes: bool,
    json: Value,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, method: &str, path: &str, json: &str) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
            json.len()
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    async fn receive(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("the connection broke before its answer"));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let mut body = vec![0; header("content-length: ").unwrap().parse().unwrap()];
        self.0.read_exact(&mut body).await.expect("the answer was cut");
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            closes: header("connection: ") == Some("close"),
            json: serde_json::from_slice(&body).unwrap(),
        }
    }

    async fn call(&mut self, method: &str, path: &str, json: &str) -> Answer {
        self.send(method, path, json).await;
        self.receive().await
    }

    /// Waits until the other side closes the connection without a word.
    async fn closed(&mut self) {
        assert_eq!(self.0.read(&mut [0; 8]).await.unwrap_or(0), 0);
    }
}

const TOPIC: &str = "{\"topic\":\"x\"}";

/// Calls the first process until an answer closes the connection, then the second, until it has had enough of that.
///
/// Returns how many jobs each of the two has accepted.
async fn work(addresses: [SocketAddr; 2], answered: Arc<watch::Sender<usize>>) -> [usize; 2] {
    let mut accepted = [0; 2];
    for (address, n_accepted) in addresses.into_iter().zip(&mut accepted) {
        let mut client = Client::connect(address).await;
        loop {
            let submitted = client.call("POST", "/v1/jobs", TOPIC).await;
            assert_eq!(submitted.status, 202, "{}", submitted.json);
            *n_accepted += 1;
            answered.send_modify(|n| *n += 1);
            if submitted.closes {
                client.closed().await;
                break;
            }
            let path = format!(
                "{}?min_position={}",
                submitted.json["links"]["self"].as_str().unwrap(),
                submitted.json["position"]
            );
            let shown = client.call("GET", &path, "").await;
            assert_eq!(shown.status, 200, "{}", shown.json);
            if shown.closes {
                client.closed().await;
                break;
            }
            if address == addresses[1] && *n_accepted == 20 {
                break;
            }
        }
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_move_on_lose_no_request() {
    const N_CLIENTS: usize = 24;
    let (old, new) = (Process::start().await, Process::start().await);
    let answered = Arc::new(watch::Sender::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..N_CLIENTS {
        clients.spawn(work([old.address, new.address], answered.clone()));
    }
    answered.subscribe().wait_for(|n| *n >= 10 * N_CLIENTS).await.unwrap();
    // The worst case: nothing runs that the process would have to wait for.
    old.service.state.ops.draining.cancel();
    old.service.state.ops.shutdown.cancel();
    let mut accepted = [0; 2];
    while let Some(by_client) = clients.join_next().await {
        let by_client = by_client.unwrap();
        accepted = [accepted[0] + by_client[0], accepted[1] + by_client[1]];
    }
    let new_log = new.service.log.clone();
    let old = old.ended().await;
    assert_eq!([old.log.n_events("JobSubmitted"), new_log.n_events("JobSubmitted")], accepted);
    assert_eq!(accepted[1], 20 * N_CLIENTS);
}

#[tokio::test]
async fn a_draining_process_answers_and_sends_its_clients_away() {
    let process = Process::start().await;
    let mut client = Client::connect(process.address).await;
    assert!(!client.call("GET", "/readyz", "").await.closes);
    process.service.state.ops.draining.cancel();
    let ready = client.call("GET", "/readyz", "").await;
    assert_eq!((ready.status, ready.closes), (503, true));
    client.closed().await;
    for (method, path, body, status) in
        [("POST", "/v1/jobs", TOPIC, 202), ("GET", "/v1/jobs", "", 200), ("GET", "/v1/nothing", "", 404)]
    {
        let mut client = Client::connect(process.address).await;
        let answer = client.call(method, path, body).await;
        assert_eq!((answer.status, answer.closes), (status, true), "{path}");
        client.closed().await;
    }
    assert!(!process.server.is_finished());
    process.service.state.ops.shutdown.cancel();
    process.ended().await;
}

#[tokio::test]
async fn who_connected_before_the_end_is_answered() {
    let service = Service::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(listener.local_addr().unwrap()).await;
    client.send("POST", "/v1/jobs", TOPIC).await;
    let shutdown = service.state.ops.shutdown.clone();
    shutdown.cancel();
    let server = tokio::spawn(crate::serve(listener, service.router.clone(), 10, shutdown));
    let answer = client.receive().await;
    assert_eq!((answer.status, answer.closes), (202, true));
    server.await.unwrap();
}

#[tokio::test]
async fn a_request_that_meets_the_end_is_answered() {
    let process = Process::start().await;
    let mut idle = Client::connect(process.address).await;
    let mut client = Client::connect(process.address).await;
    assert!(!client.call("GET", "/v1/stats", "").await.closes);
    process.service.state.ops.shutdown.cancel();
    let answer = client.call("POST", "/v1/jobs", TOPIC).await;
    assert_eq!((answer.status, answer.closes), (202, true));
    client.closed().await;
    idle.closed().await;
    process.ended().await;
}

#[tokio::test]
async fn a_slow_commit_is_awaited() {
    let process = Process::start().await;
    let mut idle = Client::connect(process.address).await;
    let mut client = Client::connect(process.address).await;
    assert_eq!(client.call("GET", "/healthz", "").await.status, 200);
    process.service.log.set_held(true);
    client.send("POST", "/v1/jobs", TOPIC).await;
    process.service.state.ops.shutdown.cancel();
    // From here on idle connections are closed, and the other one is not idle.
    idle.closed().await;
    assert!(!process.server.is_finished());
    process.service.log.set_held(false);
    let answer = client.receive().await;
    assert_eq!((answer.status, answer.closes), (202, true));
    assert_eq!(process.ended().await.log.n_events("JobSubmitted"), 1);
}

#[tokio::test]
async fn long_polls_answer_with_what_is() {
    let process = Process::start().await;
    let path = process.service.submit("{\"topic\":\"hang\"}").await;
    let mut client = Client::connect(process.address).await;
    client.send("GET", &format!("{path}?wait=60s"), "").await;
    process.service.state.ops.shutdown.cancel();
    let answer = client.receive().await;
    assert_eq!((answer.status, answer.closes, &answer.json["status"]), (200, true, &"running".into()));
    process.ended().await;
}

#[tokio::test]
async fn streams_end_whole() {
    let process = Process::start().await;
    let path = process.service.submit("{\"topic\":\"hang\"}").await;
    let mut streams = Vec::new();
    for path in ["/v1/events", &format!("{path}/stream")] {
        let mut stream = Client::connect(process.address).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n");
        stream.0.write_all(request.as_bytes()).await.unwrap();
        let mut seen = String::new();
        while !seen.contains("event: StageStarted") {
            seen.push(char::from(stream.0.read_u8().await.unwrap()));
        }
        streams.push(stream);
    }
    process.service.state.ops.shutdown.cancel();
    for mut stream in streams {
        let mut rest = String::new();
        stream.0.read_to_string(&mut rest).await.unwrap();
        assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
    }
    process.ended().await;
}

#[tokio::test]
async fn a_stream_that_is_far_behind_holds_nobody_up() {
    let service = Service::start().await;
    let path = service.submit("{\"topic\":\"x\"}").await;
    service.get(&format!("{path}?wait=10s")).await;
    let request =
        Request::get("/v1/events").header("accept", "text/event-stream").body(Body::empty()).unwrap();
    let mut body = service.router.clone().oneshot(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.data_ref().unwrap(), "retry: 1000\n\n");
    service.state.ops.shutdown.cancel();
    assert!(body.frame().await.is_none());
}
