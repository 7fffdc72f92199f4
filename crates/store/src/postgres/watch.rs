//! Learning what other processes write: by notification, and by looking.
//!
//! One connection does both, so that a look also finds out whether it still lives. Notifications can get lost with a
//! connection, and a pool has none: whatever a look finds that no notification told is `Unknown`, but for the silence of the
//! others towards a process that hears of work alone.

use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use quillwork_app::ports::store::{LogWatch, News, Notice, StoreError};
use quillwork_domain::id::Position;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnection, PgListener, PgPool, PgPoolOptions, PgRow};
use tokio::time::Instant;

use crate::postgres::news;
use crate::postgres::place::{Hears, Place};
use crate::postgres::rows::unsigned;

/// What grows with everything that somebody may care about.
pub(super) const LOOK: &str = "SELECT h.position, h.queue FROM quillwork.head h WHERE h.id = 1";

/// How long a look may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Waits for what others write. See [`LogWatch`].
pub struct PostgresWatch {
    place: Place,
    poll_interval: Duration,
    ears: Option<Ears>,
    /// What is known of the log. Whatever is beyond is news.
    known: Known,
    look_at: Instant,
    backoff: ExponentialBackoff,
    /// Not before this time is a lost connection replaced.
    connect_at: Instant,
}

#[derive(Clone, Copy, Default)]
struct Known {
    head: Position,
    queue: Position,
}

impl Known {
    /// Reads what was told, and knows it from now on.
    fn told(&mut self, text: &str, hears: Hears) -> Notice {
        let notice = news::read(text);
        let known = self.head;
        self.head = self.head.max(news::position(&notice));
        match (notice, hears) {
            // The others are silent between notices. Should one of them have let tasks wait without a word, because it
            // cannot tell or knew of nobody, the next look finds it.
            (Notice::Written { before, head, news }, Hears::Work) if before > known => {
                Notice::Written { before: known, head, news }
            }
            (notice, Hears::All | Hears::Work) => {
                self.queue = self.head;
                notice
            }
        }
    }

    /// What a look found that nobody told.
    fn found(&mut self, seen: Self, hears: Hears) -> Option<Notice> {
        let Self { head, queue } = std::mem::replace(self, seen);
        if seen.queue > queue {
            return Some(Notice::Unknown { head: seen.head });
        }
        if seen.head <= head {
            return None;
        }
        match hears {
            Hears::All => Some(Notice::Unknown { head: seen.head }),
            Hears::Work => Some(Notice::Written { before: head, head: seen.head, news: News::default() }),
        }
    }
}

/// A connection to hear and look with.
enum Ears {
    Listening(PgListener),
    Looking(PgConnection),
}

impl PostgresWatch {
    pub(super) fn new(place: Place, poll_interval: Duration) -> Self {
        let now = Instant::now();
        let (known, backoff) = (Known::default(), patience());
        Self { place, poll_interval, ears: None, known, look_at: now, backoff, connect_at: now }
    }

    /// Waits for one notice, or for nothing.
    async fn hear(&mut self) -> Result<Option<Notice>, StoreError> {
        let Some(ears) = &mut self.ears else {
            tokio::time::sleep_until(self.connect_at).await;
            // Should connecting fail or be given up, the next try comes later.
            self.connect_at = Instant::now() + self.backoff.next().unwrap_or(ANSWER);
            self.ears = Some(Ears::open(&self.place).await?);
            self.known = self.look().await?;
            self.backoff = patience();
            return Ok(Some(Notice::Unknown { head: self.known.head }));
        };
        if let Ears::Listening(listener) = ears {
            let heard = tokio::time::timeout_at(self.look_at, listener.try_recv()).await;
            if let Ok(heard) = heard {
                let notification = heard.map_err(|error| self.place.error(error))?;
                let Some(notification) = notification else { return Err(self.place.silent()) };
                return Ok(Some(self.known.told(notification.payload(), self.place.hears)));
            }
        } else {
            tokio::time::sleep_until(self.look_at).await;
        }
        let seen = self.look().await?;
        // Who cannot be told must take everything that is there for everything that may be.
        let hears = if self.place.pooled { Hears::All } else { self.place.hears };
        Ok(self.known.found(seen, hears))
    }

    async fn look(&mut self) -> Result<Known, StoreError> {
        self.look_at = Instant::now() + self.poll_interval;
        let Some(ears) = &mut self.ears else { return Err(self.place.silent()) };
        let seen = match tokio::time::timeout(ANSWER, ears.look()).await {
            Ok(seen) => seen.and_then(|row| Ok((unsigned(&row, 0)?, unsigned(&row, 1)?))),
            Err(_) => return Err(self.place.silent()),
        };
        let (head, queue) = seen.map_err(|error| self.place.error(error))?;
        Ok(Known { head: Position(head), queue: Position(queue) })
    }

    /// What has come in the meantime, without waiting.
    async fn hear_more(&mut self, mut notice: Notice) -> Notice {
        while let Some(Ears::Listening(listener)) = &mut self.ears {
            let heard = tokio::time::timeout(Duration::ZERO, listener.try_recv()).await;
            match heard {
                Ok(Ok(Some(notification))) => {
                    notice = news::both(notice, self.known.told(notification.payload(), self.place.hears));
                }
                // Found out by the next one who waits.
                Ok(Ok(None) | Err(_)) => self.ears = None,
                Err(_) => break,
            }
        }
        notice
    }
}

#[async_trait]
impl LogWatch for PostgresWatch {
    async fn next(&mut self) -> Notice {
        loop {
            match self.hear().await {
                Ok(Some(notice)) => {
                    let notice = self.hear_more(notice).await;
                    return with_head(notice, self.known.head);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot watch the log; trying again");
                    self.ears = None;
                }
            }
        }
    }
}

impl Ears {
    async fn open(place: &Place) -> Result<Self, StoreError> {
        if place.pooled {
            return Ok(Self::Looking(place.connect().await?));
        }
        let listening = async {
            // A pool of one, which nobody else uses: the listener wants one. A lost connection is replaced by us.
            let pool: PgPool = PgPoolOptions::new()
                .max_connections(1)
                .max_lifetime(None)
                .idle_timeout(None)
                .acquire_timeout(ANSWER)
                .connect_lazy_with(place.options.clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen("quillwork").await?;
            Ok(listener)
        };
        listening.await.map(Self::Listening).map_err(|error| place.error(error))
    }

    async fn look(&mut self) -> sqlx::Result<PgRow> {
        match self {
            Self::Listening(listener) => sqlx::query(LOOK).fetch_one(listener).await,
            Self::Looking(conn) => {
                let mut tx = conn.begin().await?;
                let row = sqlx::query(LOOK).persistent(false).fetch_one(&mut *tx).await?;
                tx.commit().await?;
                Ok(row)
            }
        }
    }
}

/// A notice that knows no position gets what is known.
fn with_head(notice: Notice, head: Position) -> Notice {
    match notice {
        Notice::Unknown { .. } => Notice::Unknown { head },
        written @ Notice::Written { .. } => written,
    }
}

fn patience() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter()
        .build()
}
