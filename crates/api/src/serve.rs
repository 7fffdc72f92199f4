//! Serving connections.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A client must send the head of its next request within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);

/// After `shutdown` the next request on a connection is awaited for this long; its answer closes the connection.
const LINGER: Duration = Duration::from_millis(500);

/// The system queues about this many connections that nobody has accepted yet.
const MAX_WAITING: usize = 4_096;

/// After that requests that run may finish within this time.
const GRACE: Duration = Duration::from_secs(10);

/// Accepting fails when the process has too many files open; this is how long to wait for some to close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection too many is told before it is closed.
const TURNED_AWAY: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: application/problem+json\r\ncontent-length: 146\r\n\r\n\
    {\"type\":\"urn:quillwork:problem:unavailable\",\"title\":\"Service unavailable\",\"status\":503,\
    \"detail\":\"all connections are in use (limits.connections)\"}";

/// Serves `router` until `shutdown`, at most `max_connections` at once; more are turned away with 503.
///
/// Returns when the last connection is closed, which is soon after `shutdown`. No new connections are accepted then, and
/// no answer is cut: requests that run are finished, and [`crate::ApiState::shutdown`] ends streams and long polls. Who
/// is about to send a request is answered too and told to close, for half a second; then idle connections are closed.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    shutdown: CancellationToken,
) {
    let mut server = Server {
        service: TowerToHyperService::new(router),
        graceful: GracefulShutdown::new(),
        permits: Arc::new(Semaphore::new(max_connections)),
        connections: JoinSet::new(),
    };
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => server.take(stream),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; raise the limit on open files if this persists");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    server.take_waiting(listener);
    server.end().await;
}

/// The connections, and what they need.
struct Server {
    service: TowerToHyperService<Router>,
    graceful: GracefulShutdown,
    permits: Arc<Semaphore>,
    connections: JoinSet<()>,
}

impl Server {
    /// Serves a connection, in a task of its own.
    fn take(&mut self, stream: TcpStream) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            self.connections.spawn(turn_away(stream));
            return;
        };
        // Answers are small, and waiting for company would delay them by 40 ms.
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), self.service.clone());
        let connection = self.graceful.watch(connection);
        self.connections.spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        while self.connections.try_join_next().is_some() {}
    }

    /// Takes the connections that the system has accepted already, which closing `listener` would break.
    fn take_waiting(&mut self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..MAX_WAITING {
            // The first failure mostly says that there are no more.
            let Ok((stream, _)) = listener.accept() else { return };
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.take(stream);
            }
        }
    }

    /// Waits for the last answers.
    async fn end(mut self) {
        let ended = async { while self.connections.join_next().await.is_some() {} };
        // An idle connection that was closed at once would break the request that is on its way.
        if tokio::time::timeout(LINGER, ended).await.is_ok() {
            return;
        }
        if tokio::time::timeout(GRACE, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(
                n_connections = self.connections.len(),
                "connections are cut off at the end of the grace period"
            );
        }
        self.connections.shutdown().await;
    }
}

/// An honest answer is better than none; a client that does not even read it gets none.
async fn turn_away(mut stream: TcpStream) {
    let told = async {
        stream.write_all(TURNED_AWAY.as_bytes()).await?;
        stream.shutdown().await
    };
    // It is gone either way.
    let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
