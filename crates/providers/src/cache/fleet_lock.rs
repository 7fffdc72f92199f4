//! One process of all asks, and the others wait for its answer.

use std::time::Duration;

use quillwork_app::ports::cache::CacheKey;
use redis::Script;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::redis_server::RedisServer;

/// A lock of a process that died stays at most this long.
const TTL_MS: u64 = 30_000;

/// Who lives tells it in time.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// Only who took it gives it back: it may have expired and be another's.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";
const RENEW: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] \
                     then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) else return 0 end";

/// A lock by courtesy: losing it costs a second call, never a wrong answer.
#[derive(Clone)]
pub(super) struct FleetLock {
    server: RedisServer,
}

/// What came of trying to take a lock.
pub(super) enum Taken {
    Yes(Held),
    /// Another process has it.
    Busy,
    /// Redis does not answer; everyone asks for himself.
    Away,
}

/// A lock that is renewed until it is dropped, and given back then.
pub(super) struct Held {
    _owner: Owner,
    _renewing: AbortOnDropHandle<()>,
}

/// Gives back when dropped what it may have taken.
struct Owner {
    server: RedisServer,
    name: String,
    token: String,
}

impl FleetLock {
    pub(super) fn new(server: RedisServer) -> Self {
        Self { server }
    }

    /// Takes the lock, or does not wait.
    pub(super) async fn take(&self, key: &CacheKey) -> Taken {
        // Made before the call, so that a caller who goes in the middle of it leaves no lock behind.
        let owner = Owner {
            server: self.server.clone(),
            name: format!("quillwork:lock:{key}"),
            token: Uuid::now_v7().simple().to_string(),
        };
        let mut command = redis::cmd("SET");
        command.arg(&owner.name).arg(&owner.token).arg("NX").arg("PX").arg(TTL_MS);
        let answer: Option<Option<String>> =
            self.server.call(async |mut connection| command.query_async(&mut connection).await).await;
        match answer {
            Some(Some(_)) => Taken::Yes(owner.hold()),
            Some(None) => {
                owner.forget();
                Taken::Busy
            }
            None => Taken::Away,
        }
    }
}

impl Owner {
    fn hold(self) -> Held {
        let (server, name, token) = (self.server.clone(), self.name.clone(), self.token.clone());
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW_EVERY).await;
                // A lock that was lost costs a second call at most.
                let _ = run(&server, RENEW, &name, &token).await;
            }
        });
        Held { _owner: self, _renewing: AbortOnDropHandle::new(renewing) }
    }

    /// There is nothing to give back.
    fn forget(mut self) {
        self.name.clear();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        // Without a runtime the process ends, and the lock expires.
        let Ok(runtime) = Handle::try_current() else { return };
        let server = self.server.clone();
        let (name, token) = (std::mem::take(&mut self.name), std::mem::take(&mut self.token));
        runtime.spawn(async move { run(&server, RELEASE, &name, &token).await });
    }
}

async fn run(server: &RedisServer, script: &str, name: &str, token: &str) -> Option<u64> {
    let script = Script::new(script);
    let mut invocation = script.key(name);
    invocation.arg(token).arg(TTL_MS);
    server.call(async |mut connection| invocation.invoke_async(&mut connection).await).await
}
