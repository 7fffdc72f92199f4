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

/// After `shutdown` requests that run may finish within this time.
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
/// Returns when the last connection is closed, which is soon after `shutdown`: requests that run are finished, idle
/// connections are closed, and [`crate::ApiState::shutdown`] ends streams and long polls.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    shutdown: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(max_connections));
    let mut connections = JoinSet::new();
    let service = TowerToHyperService::new(router);
    loop {
        let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await else { break };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; raise the limit on open files if this persists");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            connections.spawn(turn_away(stream));
            continue;
        };
        // Answers are small, and waiting for company would delay them by 40 ms.
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service.clone());
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            n_connections = connections.len(),
            "connections are cut off at the end of the grace period"
        );
    }
    connections.shutdown().await;
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
