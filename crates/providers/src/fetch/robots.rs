//! What the owners of sites ask of robots, by RFC 9309.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use texting_robots::Robot;
use url::{Position, Url};

use crate::fetch::setback::Setback;
use crate::fetch::web::{Answer, Budget, Web};
use crate::fetch::{REDIRECTS, redirect};

/// The rest of a longer file is not read.
const LONGEST: usize = 500_000;

/// Rules that end in `$` are compiled, each to far more bytes than it has. A file with more of them is a trap.
const MOST_ANCHORS: usize = 1_000;
const ANCHOR_BYTES: usize = 16_384;

/// What the rules of all sites may take, about.
const CAPACITY_BYTES: u64 = 64_000_000;
const OVERHEAD_BYTES: usize = 1_000;

/// Rules are read anew after this time. The standard allows for a day.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// A site that failed to tell its rules is left alone for this time.
const CLOSED: Duration = Duration::from_secs(10 * 60);

/// Knows the rules of sites; cheap to clone.
#[derive(Clone)]
pub(super) struct Robots {
    product: Arc<str>,
    rules: Cache<String, Arc<Rules>>,
}

/// The rules of one site.
pub(super) struct Rules {
    kind: Kind,
    delay: Duration,
    bytes: usize,
}

enum Kind {
    Open,
    Read(Robot),
    /// The rules lie where nobody may be asked: why.
    Barred(String),
    /// Nothing may be read for a while.
    Closed {
        /// What robots.txt answered.
        reason: String,
        until: Instant,
    },
}

struct ByKind;

impl Expiry<String, Arc<Rules>> for ByKind {
    fn expire_after_create(&self, _: &String, rules: &Arc<Rules>, _: Instant) -> Option<Duration> {
        Some(match rules.kind {
            Kind::Open | Kind::Read(_) => FRESH,
            Kind::Barred(_) | Kind::Closed { .. } => CLOSED,
        })
    }
}

impl Robots {
    pub(super) fn new(product: String) -> Self {
        let rules = Cache::builder()
            .max_capacity(CAPACITY_BYTES)
            .weigher(|origin: &String, rules: &Arc<Rules>| {
                u32::try_from(origin.len() + rules.bytes + OVERHEAD_BYTES).unwrap_or(u32::MAX)
            })
            .expire_after(ByKind)
            .build();
        Self { product: product.into(), rules }
    }

    /// The rules of the site of `url`, read once for everyone who waits for them.
    ///
    /// # Errors
    /// If the site cannot be asked now. This is not remembered.
    pub(super) async fn rules(&self, web: &Web, url: &Url) -> Result<Arc<Rules>, Setback> {
        let origin = &url[..Position::BeforePath];
        let read = async { self.read(web, url).await.map(Arc::new) };
        self.rules.try_get_with_by_ref(origin, read).await.map_err(|setback: Arc<Setback>| (*setback).clone())
    }

    async fn read(&self, web: &Web, page: &Url) -> Result<Rules, Setback> {
        let mut url = page.clone();
        url.set_path("/robots.txt");
        url.set_query(None);
        let mut budget = Budget::new(web.config.timeout);
        for _ in 0..=REDIRECTS {
            // Not the deadline of the first who asks: others may wait for the answer, too.
            let latest = tokio::time::Instant::now() + web.config.timeout;
            let answer = match web.ask(&url, web.config.delay, &mut budget, latest).await {
                Ok(answer) => answer,
                Err(Setback::Barred(reason)) => return Ok(barred(web, reason)),
                Err(Setback::Skip(reason)) => return Ok(closed(web, reason)),
                Err(Setback::Fail(error)) => return Err(Setback::Fail(error)),
            };
            match answer.status().as_u16() {
                200..=299 => return self.parse(web, answer, &url).await,
                301 | 302 | 303 | 307 | 308 => match redirect(&url, answer.headers()) {
                    Ok(next) => url = next,
                    Err(_) => return Ok(open(web)),
                },
                status @ (429 | 500..=599) => {
                    return Ok(closed(web, format!("{url} answered with status {status}")));
                }
                _ => return Ok(open(web)),
            }
        }
        Ok(open(web))
    }

    async fn parse(&self, web: &Web, answer: Answer, url: &Url) -> Result<Rules, Setback> {
        let (bytes, complete) = match answer.body(url, LONGEST).await {
            Ok(body) => body,
            Err(Setback::Skip(reason)) => return Ok(closed(web, reason)),
            Err(setback @ (Setback::Barred(_) | Setback::Fail(_))) => return Err(setback),
        };
        let (product, size) = (Arc::clone(&self.product), bytes.len());
        let anchors = bytes.iter().filter(|&&byte| byte == b'$').count();
        if anchors > MOST_ANCHORS {
            return Ok(closed(web, format!("{url} has more rules with `$` than can be obeyed")));
        }
        let parsed = tokio::task::spawn_blocking(move || {
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            // The last line may be cut in the middle, and would forbid or allow too much.
            let end = if complete { None } else { text.iter().rposition(|&byte| byte == b'\n') };
            Robot::new(&product, end.and_then(|end| text.get(..end)).unwrap_or(text))
        });
        let Ok(Ok(robot)) = parsed.await else {
            return Ok(closed(web, format!("{url} cannot be read as rules for robots")));
        };
        let longest = web.config.longest_delay.as_secs_f32();
        // What is no number asks for nothing.
        let asked = robot.delay.and_then(|delay| Duration::try_from_secs_f32(delay.clamp(0.0, longest)).ok());
        let delay = asked.unwrap_or_default().max(web.config.delay);
        Ok(Rules { kind: Kind::Read(robot), delay, bytes: size + anchors * ANCHOR_BYTES })
    }
}

fn open(web: &Web) -> Rules {
    Rules { kind: Kind::Open, delay: web.config.delay, bytes: 0 }
}

fn barred(web: &Web, reason: String) -> Rules {
    Rules { bytes: reason.len(), kind: Kind::Barred(reason), delay: web.config.delay }
}

fn closed(web: &Web, reason: String) -> Rules {
    let until = Instant::now() + CLOSED;
    Rules { bytes: reason.len(), kind: Kind::Closed { reason, until }, delay: web.config.delay }
}

impl Rules {
    /// How far apart requests to the site start.
    ///
    /// # Errors
    /// Why the page is not read, for good or for now.
    pub(super) fn check(&self, url: &Url) -> Result<Duration, Setback> {
        match &self.kind {
            Kind::Closed { reason, until } => Err(Setback::rate_limited(
                format!(
                    "{url} is not read for now, since its site did not tell what robots may read: {reason}"
                ),
                Some(until.saturating_duration_since(Instant::now())),
            )),
            Kind::Barred(reason) => Err(Setback::skip(format!(
                "{url} is left out, since its site does not tell what robots may read: {reason}"
            ))),
            Kind::Read(robot) if !robot.allowed(url.as_str()) => {
                Err(Setback::skip(format!("{url} is not for robots, says the robots.txt of its site")))
            }
            Kind::Open | Kind::Read(_) => Ok(self.delay),
        }
    }
}
