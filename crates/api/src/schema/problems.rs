//! Problems as `/openapi.json` describes them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};
use uuid::Uuid;

use crate::schema::JobError;

/// RFC 9457.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:quillwork:problem:<kind>`; stable.
    #[schema(example = "urn:quillwork:problem:validation")]
    r#type: String,
    title: String,
    status: u16,
    /// What failed, on what, and what to do.
    detail: String,
    /// The path of the request.
    #[schema(required = false)]
    instance: String,
    /// Of the request, for finding it in logs.
    correlation_id: Uuid,
    /// The fields at fault.
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// Why the job failed.
    #[schema(required = false)]
    error: JobError,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct FieldError {
    field: String,
    message: String,
}

/// What reading a body can lead to.
pub(crate) struct BodyProblems;
/// What giving a command can lead to.
pub(crate) struct CommandProblems;
/// What a query can lead to.
pub(crate) struct ReadProblems;
pub(crate) struct UnknownJob;
pub(crate) struct UnknownQueue;
pub(crate) struct StateForbids;

fn problems<const N: usize>(said: [(&str, &str); N]) -> BTreeMap<String, RefOr<Response>> {
    let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    said.into_iter()
        .map(|(status, description)| {
            let response = ResponseBuilder::new().description(description);
            let response = response.content("application/problem+json", content()).build();
            (status.to_owned(), RefOr::T(response))
        })
        .collect()
}

impl IntoResponses for BodyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([
            ("400", "The body is not JSON; the detail says where"),
            ("413", "The body is too large"),
            ("415", "The body is not said to be JSON"),
            ("422", "A field, parameter or header is not acceptable; `errors` names it"),
        ])
    }
}

impl IntoResponses for CommandProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([
            ("429", "Too much waits already; nothing was accepted (with Retry-After)"),
            ("500", "A defect; the service's log has it under the correlation id"),
            ("503", "The log cannot be written; nothing was accepted (with Retry-After)"),
        ])
    }
}

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([
            ("422", "A parameter or header is not acceptable; `errors` names it"),
            ("500", "A defect; the service's log has it under the correlation id"),
            ("503", "The store or the read model does not answer for now (with Retry-After)"),
        ])
    }
}

impl IntoResponses for UnknownJob {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([("404", "There is no such job")])
    }
}

impl IntoResponses for UnknownQueue {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([("404", "No pipeline has such a handler; the detail lists those that there are")])
    }
}

impl IntoResponses for StateForbids {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([("409", "The job is not in a state that allows this")])
    }
}
