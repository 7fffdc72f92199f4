//! A site whose answers are written byte by byte, so that they can be wrong.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// In lower case, `name: value`.
    pub(crate) headers: Vec<String>,
}

/// What the site does with a connection once it has read the request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Sends this and hangs up.
    Bytes(Vec<u8>),
    /// Sends this and says no more, without hanging up.
    Silence(Vec<u8>),
    /// Sends the first, then the second again and again.
    Endless(Vec<u8>, Vec<u8>),
}

pub(crate) struct Site {
    port: u16,
    seen: watch::Sender<Vec<Request>>,
    _server: AbortOnDropHandle<()>,
}

impl Site {
    pub(crate) async fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = watch::Sender::new(Vec::new());
        let (requests, reply) = (seen.clone(), Arc::new(reply));
        let connections = Arc::new(Mutex::new(tokio::task::JoinSet::new()));
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (requests, reply) = (requests.clone(), Arc::clone(&reply));
                connections.lock().unwrap().spawn(async move {
                    // The other side may hang up at any time.
                    let _ = serve(stream, &requests, &*reply).await;
                });
            }
        });
        Self { port, seen, _server: AbortOnDropHandle::new(server) }
    }

    /// One page at `/`, and no robots.txt.
    pub(crate) async fn of(page: impl Into<Vec<u8>>) -> Self {
        let page = page.into();
        Self::start(
            move |request| {
                if request.path == "/robots.txt" { not_found() } else { Reply::Bytes(page.clone()) }
            },
        )
        .await
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host())
    }

    /// All requests but those for robots.txt, in the order of their arrival.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen.borrow().iter().map(|it| it.path.clone()).filter(|path| path != "/robots.txt").collect()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.borrow().clone()
    }

    /// Waits for a request of `path`.
    pub(crate) async fn asked_for(&self, path: &str) {
        let mut seen = self.seen.subscribe();
        seen.wait_for(|seen| seen.iter().any(|request| request.path == path)).await.unwrap();
    }
}

async fn serve(
    stream: TcpStream,
    requests: &watch::Sender<Vec<Request>>,
    reply: &(dyn Fn(&Request) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let path = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines[1..].iter().map(|line| line.to_lowercase()).collect();
    let request = Request { path, headers };
    let answer = reply(&request);
    requests.send_modify(|seen| seen.push(request));
    match answer {
        Reply::Bytes(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Reply::Silence(bytes) => {
            stream.write_all(&bytes).await?;
            std::future::pending().await
        }
        Reply::Endless(first, then) => {
            stream.write_all(&first).await?;
            loop {
                stream.write_all(&then).await?;
                // Lets others on this thread work, however small the piece.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// A whole answer; `headers` is `a: b\r\n…` or empty.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

pub(crate) fn html(body: &str) -> Vec<u8> {
    answer("200 OK", "content-type: text/html; charset=utf-8\r\n", body.as_bytes())
}

pub(crate) fn not_found() -> Reply {
    Reply::Bytes(answer("404 Not Found", "", b""))
}

pub(crate) fn redirect(to: &str) -> Vec<u8> {
    answer("302 Found", &format!("location: {to}\r\n"), b"")
}
