//! Status queries: which jobs there are to ask for, and asking for one.

use serde::Deserialize;
use uuid::Uuid;

use super::connection::Call;
use super::schedule::Turn;
use crate::client::Server;
use crate::exit::Usage;

/// So many of the newest jobs are asked for in turn.
const MOST_JOBS: usize = 20_000;

/// The most that a page may have.
const PAGE_JOBS: &str = "500";

#[derive(Deserialize)]
struct Page {
    items: Vec<Listed>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    id: Uuid,
}

/// The newest jobs of the server, at least one.
pub(super) async fn jobs(server: &Server) -> anyhow::Result<Vec<Uuid>> {
    let mut jobs = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut url = server.url(&["v1", "jobs"]);
        url.query_pairs_mut().append_pair("limit", PAGE_JOBS);
        if let Some(cursor) = &cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        let page: Page = server.get(url).await?;
        jobs.extend(page.items.iter().map(|job| job.id));
        cursor = page.next_cursor;
        if cursor.is_none() || jobs.len() >= MOST_JOBS {
            break;
        }
    }
    if jobs.is_empty() {
        return Err(Usage(format!(
            "--queries asks for jobs, and {} has none; submit some before, such as with: quillwork bench --jobs 1000",
            server.name()
        ))
        .into());
    }
    Ok(jobs)
}

/// Asks for one of `jobs`, of which there is at least one. Each is asked for about as often as the others, and not its
/// neighbours before and after it, because they share pages.
pub(super) fn call(jobs: &[Uuid], turn: Turn) -> Call {
    let spread = turn.first.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let nth = (spread * jobs.len() as u64) >> 32;
    Call { path: format!("/v1/jobs/{}", jobs[nth as usize]).into(), body: None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::time::Instant;

    use super::super::schedule::{Punctuality, Start};
    use super::*;

    #[test]
    fn every_job_is_asked_for() {
        let jobs: Vec<_> = (0..7_919).map(Uuid::from_u128).collect();
        let start = Start { at: Instant::now(), punctuality: Punctuality::Unscheduled };
        let mut asked: BTreeMap<_, u64> = BTreeMap::new();
        for first in 0..10 * jobs.len() as u64 {
            *asked.entry(call(&jobs, Turn { first, n_items: 1, start }).path).or_default() += 1;
        }
        assert_eq!(asked.len(), jobs.len());
        let (fewest, most) = (asked.values().min().unwrap(), asked.values().max().unwrap());
        assert!((8..=12).contains(fewest) && (8..=12).contains(most), "{fewest} to {most}");
        assert!(asked.contains_key(format!("/v1/jobs/{}", Uuid::from_u128(0)).as_str()));
    }
}
