//! `queues`: how operators control each handler's queue, and who did so.

use std::collections::BTreeMap;

use quillwork_app::ports::store::Entry;
use quillwork_domain::id::Version;
use quillwork_domain::job::Event;
use quillwork_domain::queue::QueueEvent;
use quillwork_domain::time::Timestamp;
use serde::Serialize;

/// One handler's queue as operators read it. A handler whose queue nobody touched has no row, and runs without a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueueRow {
    pub handler: String,
    pub paused: bool,
    /// Over all processes; None for no limit.
    pub max_running: Option<u32>,
    /// Why the queue is paused, while it is.
    pub reason: Option<String>,
    /// When it was last paused, resumed or limited.
    pub changed_at: Timestamp,
    /// Who did that.
    pub actor: String,
    /// The version, in the stream of all queues, of the last event that is folded in.
    pub version: Version,
}

/// How many events of the queues' stream are in `rows`: each of them changes one row.
pub(crate) fn version(rows: &BTreeMap<String, QueueRow>) -> Version {
    rows.values().map(|row| row.version).max().unwrap_or_default()
}

/// Folds one event. Pure and total: events of jobs change nothing.
pub(crate) fn fold(rows: &mut BTreeMap<String, QueueRow>, entry: &Entry) {
    let Event::Queue(event) = &entry.event else { return };
    let recorded = &entry.recorded;
    let handler = match event {
        QueueEvent::Paused(paused) => &paused.handler,
        QueueEvent::Resumed(resumed) => &resumed.handler,
        QueueEvent::Limited(limited) => &limited.handler,
    };
    let row = rows.entry(handler.clone()).or_insert_with(|| QueueRow {
        handler: handler.clone(),
        paused: false,
        max_running: None,
        reason: None,
        changed_at: recorded.recorded_at,
        actor: String::new(),
        version: recorded.version,
    });
    match event {
        QueueEvent::Paused(paused) => (row.paused, row.reason) = (true, paused.reason.clone()),
        QueueEvent::Resumed(_) => (row.paused, row.reason) = (false, None),
        QueueEvent::Limited(limited) => row.max_running = limited.max_running,
    }
    row.changed_at = recorded.recorded_at;
    row.actor = recorded.meta.actor.as_ref().to_owned();
    row.version = recorded.version;
}
