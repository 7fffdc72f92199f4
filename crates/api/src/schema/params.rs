//! Parameters as `/openapi.json` describes them.

use utoipa::{IntoParams, PartialSchema};
use uuid::Uuid;

use super::Status;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct JobPath {
    /// The job's id.
    id: Uuid,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct QueuePath {
    /// A stage handler, as in the stages of `/v1/pipelines`.
    handler: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct CallerHeaders {
    /// A UUID becomes the correlation id of everything that this request brings about.
    #[param(rename = "X-Request-Id")]
    x_request_id: Option<String>,
    /// Who acts, for the record; `client` if left out.
    #[param(rename = "X-Actor", max_length = 128)]
    x_actor: Option<String>,
    /// Whose work it is: tenants take turns, and each has its own idempotency keys. A label for fairness and no
    /// authorization: whoever can call may read and steer everything. `default` if left out.
    #[param(rename = "X-Tenant", min_length = 1, max_length = 64)]
    x_tenant: Option<String>,
    /// W3C trace context; carried into the stages.
    traceparent: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MinPosition {
    /// Wait, for at most 5 s, until the answer shows this position.
    min_position: Option<u64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ShowQuery {
    /// Wait, for at most 5 s, until the answer shows this position.
    min_position: Option<u64>,
    /// Wait until the job has ended, or this time is up: `30s`, `500ms`, at most `60s`.
    wait: Option<String>,
    /// The job as it was at this version.
    #[param(minimum = 1)]
    at_version: Option<u64>,
    /// The job as it was at this time.
    #[param(format = DateTime)]
    as_of: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    status: Option<Status>,
    pipeline: Option<String>,
    /// The `X-Tenant` that the jobs were submitted with.
    #[param(min_length = 1, max_length = 64)]
    tenant: Option<String>,
    /// `key:value`
    label: Option<String>,
    /// Part of the topic, in any case.
    q: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Wait, for at most 5 s, until the answer shows this position.
    min_position: Option<u64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Events after this position.
    #[param(default = 0)]
    after: Option<u64>,
    /// Events of the log to look at.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Kinds of events to show, separated by commas; all if left out.
    #[param(example = "JobCompleted,JobFailed")]
    kinds: Option<String>,
}

/// Where the client left off.
pub(crate) struct Resume;

impl IntoParams for Resume {
    fn into_params(
        _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
        let parameter = |name: &str, place, description: &str| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(place)
                .description(Some(description))
                .schema(Some(u64::schema()))
                .build()
        };
        vec![
            parameter("Last-Event-ID", ParameterIn::Header, "The id of the last message that the client has"),
            parameter("last_event_id", ParameterIn::Query, "The same, for clients that cannot set headers"),
        ]
    }
}
