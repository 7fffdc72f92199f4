//! A service that does stages: what it was asked, and who did not wait for its answer.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response};
use serde_json::Value;
use tokio::sync::watch;

use super::{Body, whole};
use crate::stack::PATIENCE;

/// What a service answers.
#[derive(Clone)]
pub enum Reply {
    /// The output.
    Output(Value),
    /// Status, `Retry-After`, media type and body.
    Other(u16, Option<String>, &'static str, String),
    /// An answer that ends in the middle.
    Cut,
    /// Nothing, ever.
    Silence,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Asked {
    pub headers: HeaderMap,
    pub body: Value,
}

impl Asked {
    /// A header, as text; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What the service answers to a call.
type Script = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

pub(super) struct Service {
    pub(super) script: Mutex<Script>,
    asked: watch::Sender<Vec<Asked>>,
    given_up: watch::Sender<usize>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            script: Mutex::new(Arc::new(|_| Reply::Silence)),
            asked: watch::Sender::default(),
            given_up: watch::Sender::default(),
        }
    }
}

impl Service {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let headers = request.headers().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let asked = Asked { headers, body: serde_json::from_slice(&body).unwrap() };
        let reply = self.script.lock().unwrap()(&asked);
        // Whoever hangs up drops the answer that is in the making.
        let waiting = Waiting(&self.given_up);
        self.asked.send_modify(|all| all.push(asked));
        let response = match reply {
            Reply::Output(output) => whole(200, "application/json", output.to_string()),
            Reply::Silence => std::future::pending().await,
            Reply::Cut => {
                let begin = Ok(Frame::data(Bytes::from("{\"half\":")));
                let body = stream::iter([begin, Err(std::io::Error::other("cut"))]);
                Response::new(StreamBody::new(body.boxed()))
            }
            Reply::Other(status, retry_after, kind, body) => {
                let mut response = whole(status, kind, body);
                if let Some(wait) = retry_after {
                    response.headers_mut().insert("retry-after", wait.parse().unwrap());
                }
                response
            }
        };
        std::mem::forget(waiting);
        response
    }

    /// Waits for the first `n` calls, and returns all.
    pub(super) async fn asked(&self, n: usize) -> Vec<Asked> {
        let mut asked = self.asked.subscribe();
        let enough = tokio::time::timeout(PATIENCE, asked.wait_for(|all| all.len() >= n)).await;
        enough.expect("the service should be asked").unwrap().clone()
    }

    pub(super) async fn given_up(&self, n: usize) {
        let mut given_up = self.given_up.subscribe();
        let enough = tokio::time::timeout(PATIENCE, given_up.wait_for(|count| *count >= n)).await;
        enough.expect("the caller should hang up").unwrap();
    }
}

struct Waiting<'a>(&'a watch::Sender<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count += 1);
    }
}
