//! Queues as `/openapi.json` describes them.

use utoipa::ToSchema;

/// How one stage handler's queue is controlled, in all processes.
#[derive(ToSchema)]
pub(crate) struct Queue {
    handler: String,
    /// While it is, no stage of the handler is started; those that run end as they would.
    paused: bool,
    /// Why it is paused, if whoever did it said so.
    reason: Option<String>,
    /// Stages of the handler that may run at once in all processes; null for no limit but the slots of each.
    max_running: Option<u32>,
    /// When it was last paused, resumed or limited; null if never.
    #[schema(format = DateTime)]
    changed_at: Option<String>,
    /// Who did that.
    changed_by: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct QueuePage {
    items: Vec<Queue>,
    next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct PauseQueue {
    /// For the record; 1 to 500 characters, no control characters.
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct LimitQueue {
    /// null lifts the limit.
    #[schema(required = true, minimum = 1, maximum = 1_000_000)]
    max_running: Option<u32>,
}

/// A queue as it is once the command is obeyed.
#[derive(ToSchema)]
pub(crate) struct ControlledQueue {
    handler: String,
    paused: bool,
    max_running: Option<u32>,
    /// Give it as `min_position` to a query that must show this.
    position: u64,
}
