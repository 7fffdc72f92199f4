//! Servers that cut, stall, lie or never end, one byte after the other.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
const HE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"He\"}}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server does once it has read the request.
enum Act {
    Send(String),
    /// The same again, until nobody reads.
    Repeat(String),
    /// Until the other side closes.
    Hang,
}

/// A server for one connection; and word when its client has gone.
async fn server(acts: Vec<Act>) -> (String, oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (closed, is_closed) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        for act in acts {
            match act {
                Act::Send(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                Act::Repeat(text) => while stream.write_all(text.as_bytes()).await.is_ok() {},
                Act::Hang => while stream.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {},
            }
        }
        let _ = closed.send(());
    });
    (url, is_closed)
}

async fn read_request(stream: &mut TcpStream) {
    let mut text = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        let n = stream.read(&mut chunk).await.unwrap();
        text.extend_from_slice(&chunk[..n]);
        let request = String::from_utf8_lossy(&text).to_ascii_lowercase();
        if let Some((head, body)) = request.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return;
            }
        }
    }
}

/// With short timeouts only where one is expected: a busy machine is not a silent server.
fn impatient(url: &str, expected: &str) -> EndpointConfig {
    let mut config = endpoint("m", openai(), url);
    let time = |part| if expected.contains(part) { Duration::from_millis(300) } else { PATIENCE };
    config.timeouts.first_token = time("no text came");
    config.timeouts.idle = time("fell silent");
    config
}

#[tokio::test]
async fn answers_that_do_not_come_to_their_end() {
    use Act::{Hang, Repeat, Send};
    use ErrorClass::{BadOutput, Transient};
    let head = || Send(HEAD.into());
    let chunked = || Send(HEAD.replace("connection: close", "transfer-encoding: chunked"));
    let length = || Send(HEAD.replace("connection: close", "content-length: 1000"));
    let said = || Send(HE.into());
    let long =
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(60_000));
    let error = "HTTP/1.1 500 Oops\r\nconnection: close\r\n\r\n";
    let cases = [
        (
            "cut in a chunk",
            vec![chunked(), Send(format!("{:x}\r\n{HE}\r\n1f", HE.len()))],
            Transient,
            "the connection broke",
        ),
        ("cut before its length", vec![length(), said()], Transient, "the connection broke"),
        ("closed in between", vec![head(), said()], Transient, "ended before the answer did"),
        ("closed before the head", vec![], Transient, "the connection broke"),
        ("silent from the start", vec![Hang], Transient, "no text came within 300 ms"),
        ("silent after the head", vec![head(), Hang], Transient, "no text came within 300 ms"),
        ("silent in between", vec![head(), said(), Hang], Transient, "fell silent for 300 ms"),
        ("only pings", vec![head(), Repeat(": ping\n\n".into())], Transient, "no text came within 300 ms"),
        (
            "only empty pieces",
            vec![head(), said(), Repeat("data: {}\n\n".into())],
            Transient,
            "fell silent for 300 ms",
        ),
        (
            "a line without end",
            vec![head(), Send("data: ".into()), Repeat("x".repeat(50_000))],
            BadOutput,
            "event of its stream is over 1 MB",
        ),
        ("a text without end", vec![head(), Repeat(long)], BadOutput, "its answer is over 4 MB"),
        (
            "an error without end",
            vec![Send(error.into()), Repeat("y".repeat(50_000))],
            Transient,
            "HTTP 500: yyy",
        ),
        ("not HTTP", vec![Send("hello\n".into())], Transient, "the connection broke"),
    ];
    let checks = cases.map(|(what, acts, class, part)| async move {
        let (url, _) = server(acts).await;
        let config = impatient(&url, part);
        // Nobody listens at the second try: what counts is the first, and it is not repeated after text.
        let (done, _) = ask(&balancer(vec![config])).await;
        let error = done.unwrap_err();
        assert_eq!(error.class, class, "{what}: {error}");
        let is_retried =
            ["closed before the head", "not HTTP", "an error without end", "silent from the start"];
        assert!(error.message.contains(part) || is_retried.contains(&what), "{what}: {error}");
        assert!(error.message.chars().count() < 700, "{what}: {error}");
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn what_is_whole_counts_also_if_the_server_breaks_then() {
    let stop = || Act::Send(format!("{HEAD}{HE}{STOP}"));
    let broken =
        || Act::Send(format!("{}{HE}{STOP}", HEAD.replace("connection: close", "content-length: 9999")));
    for acts in [vec![stop()], vec![broken()], vec![stop(), Act::Hang]] {
        let (url, _) = server(acts).await;
        let done = ask(&balancer(vec![endpoint("m", openai(), &url)])).await.0.unwrap();
        assert_eq!((done.text.as_str(), done.usage), ("He", estimated(10, 1)));
    }
}

#[tokio::test]
async fn giving_up_closes_the_connection_and_counts_what_was_used() {
    let mut registry = Registry::default();
    let metrics = ProviderMetrics::register(&mut registry);
    let (url, is_closed) = server(vec![Act::Send(format!("{HEAD}{HE}")), Act::Hang]).await;
    let balancer =
        balancer_with(vec![endpoint("m", openai(), &url)], PriceTable::default(), &metrics).unwrap();
    let call = Call::within(PATIENCE);
    let mut seen = CancelAtFirst(call.clone());
    let error = balancer.complete(&prompt(), &call, &mut seen).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Released);
    tokio::time::timeout(PATIENCE, is_closed).await.expect("the server should see the end").unwrap();
    let shown = shown(&registry);
    assert!(shown.contains(r#"tokens_total{provider="m",model="m",direction="input"} 10"#), "{shown}");
}

/// Loses interest with the first text.
pub(super) struct CancelAtFirst(pub(super) Call);

impl DraftSink for CancelAtFirst {
    fn push(&mut self, _text: &str) {
        self.0.cancel.cancel();
    }

    fn restart(&mut self) {}

    fn billed(&mut self, _: FailedCall) {}
}

#[tokio::test]
async fn the_deadline_holds() {
    let (url, _) = server(vec![Act::Send(format!("{HEAD}{HE}")), Act::Hang]).await;
    let balancer = balancer(vec![endpoint("m", openai(), &url)]);
    let call = Call::within(Duration::from_millis(500));
    let error = balancer.complete(&prompt(), &call, &mut Seen::default()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Timeout);
}
