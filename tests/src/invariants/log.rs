//! The log as a sequence: positions, versions, identities, the hash chain and time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quillwork_domain::chain;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::time::Timestamp;

/// By how much time may go back between two events: processes learn the store's clock now and then, not at every event.
const SLACK: Duration = Duration::from_secs(3);

pub(super) fn check(log: &[Recorded], between: (Timestamp, Timestamp)) -> Vec<String> {
    let mut findings = Vec::new();
    let mut previous = chain::GENESIS;
    let mut versions = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let mut latest = Timestamp::default();
    for (index, event) in log.iter().enumerate() {
        let (position, expected) = (event.position.0, index as u64 + 1);
        if position != expected {
            findings.push(format!("position {position} stands where {expected} should"));
        }
        let version = versions.entry(event.stream).or_insert(0);
        *version += 1;
        if event.version.0 != *version {
            findings.push(format!(
                "event {position} has version {} of stream {}, expected {version}",
                event.version, event.stream
            ));
        }
        if !ids.insert(event.event_id) {
            findings.push(format!("event {position} has the id of an earlier event, {}", event.event_id));
        }
        if event.hash != chain::link(&previous, event) {
            findings.push(format!("the hash chain is broken at event {position}"));
        }
        previous = event.hash;
        let at = event.recorded_at;
        if at.plus(SLACK) < latest {
            findings.push(format!("time goes back from {latest} to {at} at event {position}"));
        }
        latest = latest.max(at);
        let (began, ended) = between;
        if at.plus(SLACK) < began || at > ended.plus(SLACK) {
            findings.push(format!(
                "event {position} is recorded at {at}, but the run was from {began} to {ended}"
            ));
        }
    }
    findings
}
