//! One keep-alive connection, as cheap as it gets: the generator's own work is part of what is measured.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::client::Server;

/// Where to connect.
#[derive(Clone, Debug)]
pub(super) struct Target {
    place: Place,
    host: HeaderValue,
    /// What stands before every path; most often nothing.
    prefix: String,
}

#[derive(Clone, Debug)]
enum Place {
    Address(String),
    /// A fake server in this process, which is given one end of each connection.
    #[cfg(test)]
    Fake(tokio::sync::mpsc::UnboundedSender<tokio::io::DuplexStream>),
}

/// A request. Without a body it is a GET, with one a POST of JSON.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) path: Cow<'static, str>,
    pub(super) body: Option<Bytes>,
}

/// A connection, with the task that drives it.
pub(super) struct Connection {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

/// Why a call did not succeed.
#[derive(Debug)]
pub(super) enum CallError {
    /// The server said no for now.
    Busy { status: StatusCode, retry_after: Duration },
    /// The server said no.
    Refused(StatusCode),
    /// There is no connection, or it broke.
    Broken(&'static str),
}

impl Target {
    /// None unless the server speaks plain HTTP.
    pub(super) fn new(server: &Server) -> Option<Self> {
        let url = server.url(&[]);
        let host = url.host_str().filter(|_| url.scheme() == "http")?;
        let address = format!("{host}:{}", url.port_or_known_default()?);
        let host = HeaderValue::from_str(&address).ok()?;
        let prefix = url.path().trim_end_matches('/').to_owned();
        Some(Self { place: Place::Address(address), host, prefix })
    }

    #[cfg(test)]
    pub(super) fn fake(server: tokio::sync::mpsc::UnboundedSender<tokio::io::DuplexStream>) -> Self {
        Self { place: Place::Fake(server), host: HeaderValue::from_static("fake"), prefix: String::new() }
    }

    pub(super) async fn connect(&self) -> Result<Connection, CallError> {
        match &self.place {
            Place::Address(address) => {
                let stream = TcpStream::connect(address).await.map_err(|_| CallError::Broken("connect"))?;
                // Only a matter of speed.
                let _ = stream.set_nodelay(true);
                self.talk(stream).await
            }
            #[cfg(test)]
            Place::Fake(server) => {
                let (ours, theirs) = tokio::io::duplex(4_096);
                server.send(theirs).map_err(|_| CallError::Broken("connect"))?;
                self.talk(ours).await
            }
        }
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Connection, CallError> {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|_| CallError::Broken("connect"))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its failure shows in the call that meets it.
            let _ = connection.await;
        });
        Ok(Connection { target: self.clone(), sender, _driver: driver })
    }
}

impl Connection {
    /// Makes a call, and returns the body of a good answer.
    pub(super) async fn call(&mut self, call: &Call) -> Result<Bytes, CallError> {
        let request = match &call.body {
            Some(body) => self
                .request(Method::POST, &call.path)
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(body.clone())),
            None => self.request(Method::GET, &call.path).body(Full::default()),
        };
        let answer = self.send(request).await?;
        let body = answer.into_body().collect().await.map_err(|_| CallError::Broken("answer"))?;
        Ok(body.to_bytes())
    }

    /// Opens a stream of server-sent events.
    pub(super) async fn stream(&mut self, path: &str) -> Result<Incoming, CallError> {
        let request =
            self.request(Method::GET, path).header(ACCEPT, "text/event-stream").body(Full::default());
        self.send(request).await.map(Response::into_body)
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let uri = format!("{}{path}", self.target.prefix);
        Request::builder().method(method).uri(uri).header(HOST, &self.target.host)
    }

    async fn send(
        &mut self,
        request: hyper::http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, CallError> {
        let request = request.map_err(|_| CallError::Broken("request"))?;
        self.sender.ready().await.map_err(|_| CallError::Broken("connection"))?;
        let answer = self.sender.send_request(request).await.map_err(|_| CallError::Broken("connection"))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // The connection is of use again only once the body is read.
        let _ = answer.into_body().collect().await;
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            Err(CallError::Busy { status, retry_after: Duration::from_secs(seconds.unwrap_or(1)) })
        } else {
            Err(CallError::Refused(status))
        }
    }
}
