//! What can go wrong, as clients see it: RFC 9457 `application/problem+json`.
//!
//! A handler returns a [`Problem`]; [`crate::context`] writes it, with the request's correlation id and path. Texts are
//! for the client: what an error knows of the inside goes to the log.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quillwork_app::engine::Refusal;
use quillwork_app::payload::MissingOutput;
use quillwork_app::ports::store::StoreError;
use quillwork_domain::export::ExportError;
use quillwork_domain::job::{JobError, Rejection};
use quillwork_domain::wire::DecodeError;
use quillwork_projections::ReadModelError;
use serde::Serialize;
use uuid::Uuid;

/// The kind of a problem: its `type`, its title and its status. Names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    MalformedJson,
    Validation,
    KeyReused,
    UnsupportedMediaType,
    BodyTooLarge,
    UnknownJob,
    UnknownQueue,
    UnknownRoute,
    MethodNotAllowed,
    NotAcceptable,
    StateForbids,
    NotFinished,
    NoResult,
    Busy,
    BacklogFull,
    Behind,
    Unavailable,
    Internal,
}

impl Kind {
    fn parts(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::MalformedJson => ("malformed-json", "The body is not JSON", StatusCode::BAD_REQUEST),
            Self::Validation => {
                ("validation", "The request is not acceptable as it is", StatusCode::UNPROCESSABLE_ENTITY)
            }
            Self::KeyReused => (
                "idempotency-key-reused",
                "The idempotency key was used for another request",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", "The body must be JSON", StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::BodyTooLarge => ("body-too-large", "The body is too large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UnknownJob => ("unknown-job", "There is no such job", StatusCode::NOT_FOUND),
            Self::UnknownQueue => ("unknown-queue", "There is no such queue", StatusCode::NOT_FOUND),
            Self::UnknownRoute => ("unknown-route", "There is nothing at this path", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => {
                ("method-not-allowed", "This path has no such method", StatusCode::METHOD_NOT_ALLOWED)
            }
            Self::NotAcceptable => {
                ("not-acceptable", "There is no such representation", StatusCode::NOT_ACCEPTABLE)
            }
            Self::StateForbids => {
                ("state-forbids", "The job is not in a state that allows this", StatusCode::CONFLICT)
            }
            Self::NotFinished => ("not-finished", "The job is not finished yet", StatusCode::CONFLICT),
            Self::NoResult => ("no-result", "The job ended without a result", StatusCode::CONFLICT),
            Self::Busy => ("busy", "Too much is waiting already", StatusCode::TOO_MANY_REQUESTS),
            Self::BacklogFull => ("backlog-full", "Too many jobs are open", StatusCode::TOO_MANY_REQUESTS),
            Self::Behind => ("behind", "The read model is not there yet", StatusCode::SERVICE_UNAVAILABLE),
            Self::Unavailable => {
                ("unavailable", "The service is unavailable for now", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Internal => ("internal", "Something is wrong here", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        self.parts().2
    }
}

/// Something that kept a request from being answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    /// What failed, on what, and what to do.
    pub detail: String,
    /// The fields at fault.
    pub errors: Vec<FieldError>,
    pub retry_after: Option<Duration>,
    /// Why the job failed.
    pub job_error: Option<Box<JobError>>,
    /// What is behind it, for the service's log and nobody else.
    pub cause: Option<String>,
}

/// A field of the request that is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where it stands: a path in the body, a query parameter or a header.
    pub field: String,
    /// What it is, and what would be accepted.
    pub message: String,
}

/// A problem as it is written.
#[derive(Serialize)]
pub(crate) struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    correlation_id: Uuid,
    #[serde(skip_serializing_if = "slice_is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a JobError>,
}

fn slice_is_empty(errors: &&[FieldError]) -> bool {
    errors.is_empty()
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            job_error: None,
            cause: None,
        }
    }

    /// One field is not acceptable.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// Some fields are not acceptable; at least one.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let said: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        Self { errors, ..Self::new(Kind::Validation, said.join("; ")) }
    }

    /// Something that the client cannot mend; the cause is in the log.
    pub fn internal(what: &str, cause: &dyn std::error::Error) -> Self {
        Self::new(Kind::Internal, format!("{what}; the service's log has the cause under the correlation id"))
            .caused_by(cause)
    }

    fn caused_by(self, cause: &dyn std::error::Error) -> Self {
        Self { cause: Some(Chain(cause).to_string()), ..self }
    }

    pub fn unknown_job(id: impl std::fmt::Display) -> Self {
        Self::new(Kind::UnknownJob, format!("there is no job {id}"))
    }

    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The problem as it is written.
    pub(crate) fn body<'a>(&'a self, correlation_id: Uuid, instance: Option<&'a str>) -> Body<'a> {
        let (name, title, status) = self.kind.parts();
        Body {
            r#type: format!("urn:quillwork:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            instance,
            correlation_id,
            errors: &self.errors,
            error: self.job_error.as_deref(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: earlier would be in vain.
            let seconds = wait.as_millis().div_ceil(1_000).max(1);
            if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// An error with its causes.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

/// How long to stay away when nothing better is known.
const A_MOMENT: Duration = Duration::from_secs(1);

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Rejected(rejection) => match rejection {
                Rejection::NotFound => Self::new(Kind::UnknownJob, detail),
                Rejection::AlreadySubmitted
                | Rejection::NotCancellable(_)
                | Rejection::NotRetryable(_)
                | Rejection::NotResumable(_)
                | Rejection::BudgetUsedUp { .. }
                | Rejection::NoBudgetNeeded(_)
                | Rejection::NothingToStart
                | Rejection::UnknownAttempt(_)
                | Rejection::TooManySteps(_) => Self::new(Kind::StateForbids, detail),
            },
            Refusal::KeyReused(_) => Self::new(
                Kind::KeyReused,
                format!("{detail}; use a new key for a new job, or send the same body again"),
            ),
            Refusal::Busy { retry_after } => Self::new(Kind::Busy, detail).retry_after(retry_after),
            Refusal::BacklogFull { retry_after, .. } => {
                Self::new(Kind::BacklogFull, detail).retry_after(retry_after)
            }
            Refusal::Unavailable { retry_after, .. } => {
                Self::new(Kind::Unavailable, detail).retry_after(retry_after)
            }
            Refusal::ShuttingDown => Self::new(
                Kind::Unavailable,
                format!("{detail}; ask again, with the same idempotency key if you gave one"),
            )
            .retry_after(A_MOMENT),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Full(_) => {
                let problem = Self::new(Kind::Unavailable, "the log cannot be read for now");
                problem.retry_after(A_MOMENT).caused_by(&error)
            }
            StoreError::Corrupt(_) => Self::internal("the log cannot be read", &error),
        }
    }
}

impl From<ReadModelError> for Problem {
    fn from(error: ReadModelError) -> Self {
        let problem = Self::new(Kind::Unavailable, "the read model does not answer for now");
        problem.retry_after(A_MOMENT).caused_by(&error)
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        Self::internal("an event of this job cannot be read by this version", &error)
    }
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        Self::internal("an event cannot be exported", &error)
    }
}

impl From<MissingOutput> for Problem {
    fn from(error: MissingOutput) -> Self {
        match error {
            MissingOutput::Store(error) => error.into(),
            MissingOutput::Absent(_) | MissingOutput::Damaged(_) => {
                Self::internal("the output of a stage is missing or damaged", &error)
            }
        }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::internal("an answer cannot be written", &error)
    }
}
