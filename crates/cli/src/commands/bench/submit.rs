//! Submissions, written and read with little work: what the generator does is part of what is measured.

use bytes::Bytes;
use uuid::Uuid;

use super::connection::Call;
use super::schedule::Turn;

/// What jobs are about, behind their number: with it a submission to a pipeline of a short name has about 200 bytes.
const SUBJECT: &str = "what a durable queue costs when every job is on the disk before the client hears of it, each of \
                       its events is in a hash chain, and no worker is ever all alone";

/// The submission of the jobs of a turn, alone or as a batch.
pub(super) fn call(pipeline: &str, batch: u64, turn: Turn) -> Call {
    let job = |n: u64| serde_json::json!({ "topic": format!("bench {n}: {SUBJECT}"), "pipeline": pipeline });
    let (path, body): (_, Bytes) = if batch == 1 {
        ("/v1/jobs", job(turn.first).to_string().into())
    } else {
        let jobs: Vec<_> = (turn.first..turn.first + turn.n_items).map(job).collect();
        ("/v1/jobs/batch", serde_json::json!({ "jobs": jobs }).to_string().into())
    };
    Call { path: path.into(), body: Some(body) }
}

/// The ids of the accepted jobs. Found by their shape: parsing all of the answer would cost more than the request.
pub(super) fn ids(answer: &[u8]) -> Vec<u128> {
    const KEY: &[u8] = b"\"id\":\"";
    let mut ids = Vec::with_capacity(1);
    let mut rest = answer;
    while let Some(at) = find(rest, KEY) {
        rest = &rest[at + KEY.len()..];
        ids.extend(rest.get(..36).and_then(|id| Uuid::try_parse_ascii(id).ok()).map(|id| id.as_u128()));
    }
    ids
}

/// Where `needle` begins.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::commands::bench::schedule::{Punctuality, Start};

    #[test]
    fn a_submission_has_two_hundred_bytes() {
        let start = Start { at: Instant::now(), punctuality: Punctuality::Unscheduled };
        let one = call("echo", 1, Turn { first: 1_000, n_items: 1, start });
        assert_eq!(one.body.unwrap().len(), 200);
    }

    #[test]
    fn ids_are_found() {
        let id = "019ea1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
        let answer = format!(
            r#"{{"jobs":[{{"id":"{id}","status":"queued"}},{{"problem":{{"id":"x"}}}},{{"id":"{id}"}}]}}"#
        );
        assert_eq!(ids(answer.as_bytes()), [Uuid::parse_str(id).unwrap().as_u128(); 2]);
    }
}
