//! One connection to a Redis that may be away.
//!
//! Whoever asks has something else to fall back on. So a call is answered soon or not at all, nobody waits for a
//! server that is known to be away, and the log says once that it went and once that it came back.

mod url;

use std::fmt::Display;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

pub use url::{NotARedisUrl, RedisUrl};

/// What a call may take, for services: Redis is near, and what it is asked is small.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(250);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Between the starts of two attempts to connect.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Shared by everything in this process that uses this Redis. Connects with the first call.
#[derive(Clone)]
pub struct RedisServer {
    link: Arc<Link>,
    /// Connects in the background while there is no connection. Ends with the last user.
    connector: Arc<Mutex<Option<AbortOnDropHandle<()>>>>,
}

struct Link {
    url: RedisUrl,
    client: Client,
    call_timeout: Duration,
    state: watch::Sender<State>,
    /// The log says that Redis is away.
    is_announced: AtomicBool,
}

#[derive(Clone)]
enum State {
    Unused,
    /// For the first time: callers wait for the outcome.
    Connecting,
    Up(Connection),
    /// Callers do not wait.
    Down,
}

#[derive(Clone)]
struct Connection {
    connection: MultiplexedConnection,
    /// When it was made; tells connections apart.
    since: Instant,
}

impl RedisServer {
    /// A call that takes longer than `call_timeout` goes unanswered. Touches nothing yet.
    pub fn new(url: RedisUrl, call_timeout: Duration) -> Result<Self, NotARedisUrl> {
        if url.is_tls() {
            // An error means that the process has chosen already.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let client = Client::open(url.info()).map_err(|_| NotARedisUrl)?;
        let state = watch::Sender::new(State::Unused);
        let link = Link { url, client, call_timeout, state, is_announced: AtomicBool::new(false) };
        Ok(Self { link: Arc::new(link), connector: Arc::default() })
    }

    /// What Redis says to `work`, or nothing if it says nothing useful in time.
    ///
    /// Without an answer it is not known whether Redis has obeyed.
    pub(crate) async fn call<T, F>(&self, work: impl FnOnce(MultiplexedConnection) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let call_timeout = self.link.call_timeout;
        let until = Instant::now() + call_timeout;
        let Connection { connection, since } =
            tokio::time::timeout_at(until, self.connection()).await.ok()??;
        match tokio::time::timeout_at(until, work(connection)).await {
            Ok(Ok(answer)) => {
                self.link.answered(since);
                Some(answer)
            }
            Ok(Err(error)) => {
                self.lost(since, &error);
                None
            }
            Err(_) => {
                self.lost(since, &format_args!("no answer within {} ms", call_timeout.as_millis()));
                None
            }
        }
    }

    /// A connection of its own, to listen on.
    pub(crate) async fn listener(&self) -> RedisResult<PubSub> {
        self.link.client.get_async_pubsub().await
    }

    async fn connection(&self) -> Option<Connection> {
        let mut state = self.link.state.subscribe();
        let is_first = self.link.state.send_if_modified(|state| {
            let is_first = matches!(state, State::Unused);
            if is_first {
                *state = State::Connecting;
            }
            is_first
        });
        if is_first {
            self.connect_from(Instant::now());
        }
        let settled = state.wait_for(|state| !matches!(state, State::Connecting)).await.ok()?;
        match &*settled {
            State::Up(connection) => Some(connection.clone()),
            State::Unused | State::Connecting | State::Down => None,
        }
    }

    /// Gives up the connection that was made at `since`; not one that has replaced it.
    fn lost(&self, since: Instant, reason: &dyn Display) {
        let is_current = self.link.state.send_if_modified(|state| {
            let is_current = state.is(since);
            if is_current {
                *state = State::Down;
            }
            is_current
        });
        if is_current {
            self.link.announce(reason);
            self.connect_from(since + RETRY_EVERY);
        }
    }

    fn connect_from(&self, start: Instant) {
        let connecting = tokio::spawn(self.link.clone().connect(start));
        let mut connector = self.connector.lock().unwrap_or_else(PoisonError::into_inner);
        *connector = Some(AbortOnDropHandle::new(connecting));
    }
}

impl State {
    fn is(&self, connected_at: Instant) -> bool {
        match self {
            Self::Up(connection) => connection.since == connected_at,
            Self::Unused | Self::Connecting | Self::Down => false,
        }
    }
}

impl Link {
    /// Tries until there is a connection.
    async fn connect(self: Arc<Self>, mut start: Instant) {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.call_timeout));
        loop {
            sleep_until(start).await;
            start = Instant::now() + RETRY_EVERY;
            let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
            match timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(connection)) => {
                    // That Redis is back is said when it has answered a call: it may accept connections and refuse work.
                    self.state.send_replace(State::Up(Connection { connection, since: Instant::now() }));
                    return;
                }
                Ok(Err(error)) => self.announce(&error),
                Err(_) => {
                    self.announce(&format_args!("no connection within {} ms", CONNECT_TIMEOUT.as_millis()))
                }
            }
            self.state.send_replace(State::Down);
        }
    }

    fn announce(&self, reason: &dyn Display) {
        if !self.is_announced.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                redis = %self.url,
                error = self.url.redact(&reason.to_string()),
                "Redis does not answer; until it does, rates are limited in each process by itself, and nothing is \
                 cached for others",
            );
        }
    }

    fn answered(&self, since: Instant) {
        if self.is_announced.load(Ordering::Relaxed)
            && self.state.borrow().is(since)
            && self.is_announced.swap(false, Ordering::Relaxed)
        {
            tracing::info!(redis = %self.url, "Redis answers again");
        }
    }
}
