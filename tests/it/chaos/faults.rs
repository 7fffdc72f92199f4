//! What can happen to a fleet, and somebody who starts again what has ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use quillwork_test_servers::{Postgres, Redis};
use quillwork_tests::fleet::Member;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, watch};
use tokio::task::{JoinSet, spawn_blocking};

/// Faults under way at the same time at most: a fleet of which nothing is left does not show anything.
const AT_ONCE: usize = 4;

/// What faults happen to. Whoever has the lock of something may break it, and mends it before he lets go.
pub(super) struct Scene {
    pub(super) database: String,
    pub(super) postgres: Arc<AsyncMutex<Postgres>>,
    pub(super) redis: Arc<AsyncMutex<Redis>>,
    pub(super) members: Vec<Arc<AsyncMutex<Member>>>,
    /// Until when a process that starts may find no database.
    database_trouble: Mutex<Instant>,
    counts: Mutex<BTreeMap<&'static str, u32>>,
    pub(super) odd: Mutex<Vec<String>>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Pause,
    Terminate,
    CutConnections,
    StopDatabase,
    KillRedis,
}

impl Fault {
    fn draw(rng: &mut Rng) -> Self {
        match rng.u32(..100) {
            0..34 => Self::Kill,
            34..62 => Self::Pause,
            62..74 => Self::Terminate,
            74..88 => Self::CutConnections,
            88..94 => Self::StopDatabase,
            _ => Self::KillRedis,
        }
    }
}

impl Scene {
    pub(super) fn new(database: &str, postgres: Postgres, redis: Redis, members: Vec<Member>) -> Self {
        Self {
            database: database.to_owned(),
            postgres: Arc::new(AsyncMutex::new(postgres)),
            redis: Arc::new(AsyncMutex::new(redis)),
            members: members.into_iter().map(|member| Arc::new(AsyncMutex::new(member))).collect(),
            database_trouble: Mutex::new(Instant::now()),
            counts: Mutex::default(),
            odd: Mutex::default(),
        }
    }

    /// Faults so far, by kind.
    pub(super) fn counts(&self) -> String {
        let mut text = String::new();
        for (fault, n) in self.counts.lock().unwrap().iter() {
            write!(text, "{}{n} {fault}", if text.is_empty() { "" } else { ", " }).unwrap();
        }
        text
    }

    fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }

    fn odd(&self, what: String) {
        self.odd.lock().unwrap().push(what);
    }

    /// The database cannot be relied on for this long from now.
    fn expect_trouble(&self, how_long: Duration) {
        *self.database_trouble.lock().unwrap() = Instant::now() + how_long;
    }

    /// One fault after the other, and some at the same time. Returns when all of them are over.
    pub(super) async fn rage(self: &Arc<Self>, mut rng: Rng, how_long: Duration) {
        let end = Instant::now() + how_long;
        let mut under_way = JoinSet::new();
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(rng.u64(100..1_500))).await;
            while under_way.try_join_next().is_some() {}
            let fault = Fault::draw(&mut rng);
            // Drawn in any case, so that what follows does not depend on how long the last fault took.
            let (member, rng) = (rng.usize(..self.members.len()), rng.fork());
            if under_way.len() < AT_ONCE {
                let scene = self.clone();
                under_way.spawn(async move { scene.strike(fault, member, rng).await });
            }
        }
        while let Some(over) = under_way.join_next().await {
            over.unwrap();
        }
    }

    async fn strike(&self, fault: Fault, member: usize, rng: Rng) {
        match fault {
            Fault::Kill | Fault::Pause | Fault::Terminate => {
                if let Ok(member) = self.members[member].clone().try_lock_owned() {
                    self.strike_member(fault, member, rng).await;
                }
            }
            Fault::CutConnections | Fault::StopDatabase => {
                if let Ok(postgres) = self.postgres.clone().try_lock_owned() {
                    self.strike_database(fault, postgres, rng).await;
                }
            }
            Fault::KillRedis => {
                if let Ok(redis) = self.redis.clone().try_lock_owned() {
                    self.strike_redis(redis, rng).await;
                }
            }
        }
    }

    async fn strike_member(&self, fault: Fault, mut member: OwnedMutexGuard<Member>, mut rng: Rng) {
        if member.pid().is_none() {
            return;
        }
        match fault {
            Fault::Kill => {
                self.count("kills");
                member.kill();
                tokio::time::sleep(Duration::from_millis(rng.u64(..1_500))).await;
                member.start();
            }
            Fault::Pause => {
                self.count("pauses");
                member.pause();
                tokio::time::sleep(Duration::from_millis(rng.u64(500..6_000))).await;
                member.resume();
            }
            // Before it listens to signals it ends like any other program.
            Fault::Terminate if member.has_started() => {
                self.count("graceful restarts");
                match member.terminate().await {
                    Some(status) if status.success() => {}
                    Some(status) => {
                        self.odd(format!("{} ended with {status} when it was asked to end", member.name));
                    }
                    None => {
                        self.odd(format!("{} did not end when it was asked to", member.name));
                        member.kill();
                    }
                }
                member.start();
            }
            Fault::Terminate | Fault::CutConnections | Fault::StopDatabase | Fault::KillRedis => {}
        }
    }

    async fn strike_database(&self, fault: Fault, postgres: OwnedMutexGuard<Postgres>, mut rng: Rng) {
        if let Fault::StopDatabase = fault {
            self.count("stops of the database");
            self.expect_trouble(Duration::from_secs(60));
            let postgres = spawn_blocking(move || {
                postgres.stop_immediate();
                postgres
            });
            let postgres = postgres.await.unwrap();
            tokio::time::sleep(Duration::from_millis(rng.u64(1_000..5_000))).await;
            spawn_blocking(move || postgres.start_again()).await.unwrap();
        } else {
            self.count("cuts of connections");
            let share = [0.1, 0.5, 1.0][rng.usize(..3)];
            let sql = format!(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = '{}' AND random() <= {share}",
                self.database
            );
            spawn_blocking(move || postgres.psql("postgres", &sql)).await.unwrap();
        }
        self.expect_trouble(Duration::from_secs(1));
    }

    async fn strike_redis(&self, redis: OwnedMutexGuard<Redis>, mut rng: Rng) {
        self.count("kills of Redis");
        let redis = spawn_blocking(move || {
            redis.kill();
            redis
        });
        let redis = redis.await.unwrap();
        tokio::time::sleep(Duration::from_millis(rng.u64(..4_000))).await;
        spawn_blocking(move || redis.start_again()).await.unwrap();
    }

    /// Starts processes again that have ended by themselves, as an orchestrator does. Only one that found no database
    /// when it started has a reason to end.
    pub(super) async fn supervise(self: Arc<Self>, stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            for member in &self.members {
                if let Ok(mut member) = member.try_lock()
                    && let Some(status) = member.try_wait()
                {
                    let excused = !member.has_started()
                        && member.started_at() <= *self.database_trouble.lock().unwrap();
                    if excused {
                        self.count("starts without a database");
                    } else {
                        let log = member.log();
                        let last: Vec<&str> = log.lines().rev().take(5).collect();
                        self.odd(format!("{} ended by itself with {status}: {last:#?}", member.name));
                    }
                    member.start();
                }
            }
            // Whoever ends at once is not started again at once.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
