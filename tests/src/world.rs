//! The outside world of a test: sites, a search and a language model on one port of the loopback. It counts what it is
//! asked, and answers as the test says.

mod service;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::stack::PATIENCE;

use self::service::Service;
pub use self::service::{Asked, Reply};

/// What a model answers.
#[derive(Clone)]
pub enum Answer {
    /// Sentences of the sources that it was given, each with its number.
    Faithful,
    /// This text.
    Text(String),
    /// This text, until the test says go on after its first piece.
    Held(String, watch::Receiver<bool>),
    /// A failure: status, `Retry-After`, body.
    Failure(u16, Option<u32>, Value),
    /// A stream that ends in the middle.
    Cut,
    /// Nothing, ever.
    Silence,
}

/// What the model is asked for the n-th time, from 1.
type Script = Arc<dyn Fn(u32, &Value) -> Answer + Send + Sync>;

/// Ends with the test.
pub struct World {
    pub addr: SocketAddr,
    state: Arc<State>,
    _serving: JoinSet<()>,
}

struct State {
    /// Path to status, content type and body; of a redirect the target instead of the content type.
    pages: Mutex<BTreeMap<String, (u16, String, String)>>,
    counts: watch::Sender<BTreeMap<String, u32>>,
    prompts: Mutex<Vec<Value>>,
    script: Mutex<Script>,
    service: Service,
}

impl World {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            pages: Mutex::default(),
            counts: watch::Sender::default(),
            prompts: Mutex::default(),
            script: Mutex::new(Arc::new(|_, _| Answer::Faithful)),
            service: Service::default(),
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, state.clone()));
        Self { addr, state, _serving: serving }
    }

    /// The address of a page.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Puts a page of HTML at a path, whose `<p>` are `paragraphs`.
    pub fn page(&self, path: &str, title: &str, paragraphs: &[&str], links: &[&str]) {
        let text: String = paragraphs.iter().map(|text| format!("<p>{text}</p>\n")).collect();
        let links: String =
            links.iter().map(|link| format!("<p>See <a href=\"{link}\">there</a>.</p>\n")).collect();
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><title>{title}</title></head><body><article><h1>{title}</h1>\n{text}{links}</article></body></html>"
        );
        self.answer(path, 200, "text/html; charset=utf-8", &html);
    }

    /// Puts an answer at a path; the `kind` of a redirect is where it leads.
    pub fn answer(&self, path: &str, status: u16, kind: &str, body: &str) {
        self.state.pages.lock().unwrap().insert(path.to_owned(), (status, kind.to_owned(), body.to_owned()));
    }

    /// What the model answers from now on.
    pub fn model(&self, script: impl Fn(u32, &Value) -> Answer + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Arc::new(script);
    }

    /// What the service of stages at `/run` answers from now on. Before that it says nothing.
    pub fn service(&self, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.state.service.script.lock().unwrap() = Arc::new(script);
    }

    /// Waits until the service was asked `n` times, and returns all calls.
    pub async fn service_asked(&self, n: usize) -> Vec<Asked> {
        self.state.service.asked(n).await
    }

    /// Waits until `n` callers have hung up on the silent service.
    pub async fn service_given_up(&self, n: usize) {
        self.state.service.given_up(n).await;
    }

    /// How often each path was asked for, such as `GET /a` or `POST /v1/chat/completions`.
    pub fn counts(&self) -> BTreeMap<String, u32> {
        self.state.counts.borrow().clone()
    }

    /// Waits until a path was asked for so often.
    pub async fn asked(&self, path: &str, times: u32) {
        let mut counts = self.state.counts.subscribe();
        let asked = counts.wait_for(|counts| counts.get(path).is_some_and(|count| *count >= times));
        tokio::time::timeout(PATIENCE, asked).await.expect("the path should be asked for").unwrap();
    }

    /// How often the model was asked.
    pub fn model_calls(&self) -> u32 {
        self.counts().get("POST /v1/chat/completions").copied().unwrap_or_default()
    }

    /// What the model was asked, in order.
    pub fn prompts(&self) -> Vec<Value> {
        self.state.prompts.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        let state = state.clone();
        let service = service_fn(move |request| {
            let state = state.clone();
            async move { Ok::<_, Infallible>(answer(request, &state).await) }
        });
        tokio::spawn(async move {
            // A client that goes away in the middle is part of what is tested.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(connection), service)
                .await;
        });
    }
}

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>>;

async fn answer(request: Request<Incoming>, state: &State) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let asked = format!("{} {path}", request.method());
    state.counts.send_modify(|counts| *counts.entry(asked.clone()).or_default() += 1);
    let n = state.counts.borrow()[&asked];
    if request.method() == Method::POST && path == "/v1/chat/completions" {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        state.prompts.lock().unwrap().push(body.clone());
        let script = state.script.lock().unwrap().clone();
        return complete(script(n, &body), &body).await;
    }
    if path == "/run" {
        return state.service.answer(request).await;
    }
    if path == "/search" {
        let pages = state.pages.lock().unwrap();
        let host = request.headers()["host"].to_str().unwrap();
        let results: Vec<Value> = pages
            .iter()
            .filter(|(_, (status, kind, _))| *status == 200 && kind.starts_with("text/html"))
            .map(|(path, _)| json!({"url": format!("http://{host}{path}"), "title": path, "content": "", "engine": "test"}))
            .collect();
        let found =
            json!({"results": results, "unresponsive_engines": [], "number_of_results": results.len()});
        return whole(200, "application/json", found.to_string());
    }
    match state.pages.lock().unwrap().get(&path) {
        Some((status @ 300..400, target, _)) => {
            let mut response = whole(*status, "text/plain", String::new());
            response.headers_mut().insert("location", target.parse().unwrap());
            response
        }
        Some((status, kind, body)) => whole(*status, kind, body.clone()),
        None => whole(404, "text/plain", "not found".to_owned()),
    }
}

async fn complete(answer: Answer, request: &Value) -> Response<Body> {
    let (text, held, cut) = match answer {
        Answer::Faithful => (faithful(request), None, false),
        Answer::Text(text) => (text, None, false),
        Answer::Held(text, go_on) => (text, Some(go_on), false),
        Answer::Cut => (faithful(request), None, true),
        Answer::Silence => std::future::pending().await,
        Answer::Failure(status, retry_after, body) => {
            let mut response = whole(status, "application/json", body.to_string());
            if let Some(seconds) = retry_after {
                response.headers_mut().insert("retry-after", seconds.into());
            }
            return response;
        }
    };
    let chars: Vec<char> = text.chars().collect();
    let mut chunks: Vec<String> = chars
        .chunks(24)
        .map(|piece| {
            chunk(&json!({"delta": {"content": piece.iter().collect::<String>()}, "finish_reason": null}))
        })
        .collect();
    if cut {
        chunks.truncate(chunks.len() / 2);
    } else {
        chunks.push(chunk(&json!({"delta": {}, "finish_reason": "stop"})));
        let usage = json!({"prompt_tokens": 1_000, "completion_tokens": 200, "total_tokens": 1_200});
        chunks.push(format!("data: {}\n\n", json!({"model": "test-1", "choices": [], "usage": usage})));
        chunks.push("data: [DONE]\n\n".to_owned());
    }
    let pieces = stream::iter(chunks.into_iter().enumerate()).then(move |(n, chunk)| {
        let held = held.clone().filter(|_| n == 1);
        async move {
            if let Some(mut go_on) = held {
                // A test that is over says nothing any more.
                let _ = go_on.wait_for(|go_on| *go_on).await;
            }
            Ok(Frame::data(Bytes::from(chunk)))
        }
    });
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(StreamBody::new(pieces.boxed()))
        .unwrap()
}

fn chunk(choice: &Value) -> String {
    format!("data: {}\n\n", json!({"id": "c-1", "model": "test-1", "choices": [choice]}))
}

fn whole(status: u16, kind: &str, body: String) -> Response<Body> {
    let body = stream::iter([Ok(Frame::data(Bytes::from(body)))]);
    let response = Response::builder().status(status).header("content-type", kind);
    response.body(StreamBody::new(body.boxed())).unwrap()
}

/// An article of sentences that stand in the sources of the prompt.
fn faithful(request: &Value) -> String {
    let messages = request["messages"].as_array().unwrap();
    let prompt = messages.iter().find(|message| message["role"] == "user").unwrap();
    let mut article = "# What the sources say\n".to_owned();
    for source in prompt["content"].as_str().unwrap().split("<source>\n[").skip(1) {
        let (n, rest) = source.split_once(']').unwrap();
        let (_, text) = rest.split_once('\n').unwrap();
        let text = text.split("</source>").next().unwrap();
        let sentences = text.split_inclusive(". ").filter(|sentence| sentence.split_whitespace().count() > 5);
        for sentence in sentences.take(3) {
            let folded: Vec<&str> = sentence.split_whitespace().collect();
            article.push_str(&format!("\n{} [{n}]\n", folded.join(" ")));
        }
    }
    article
}
