//! `/v1/jobs`: one file per thing that can be asked.

pub(crate) mod batch;
pub(crate) mod budget;
pub(crate) mod command;
pub(crate) mod cost;
pub(crate) mod events;
pub(crate) mod list;
pub(crate) mod result;
pub(crate) mod show;
pub(crate) mod stream;
pub(crate) mod submit;
pub(crate) mod timeline;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use quillwork_domain::id::{JobId, StreamId};
use uuid::Uuid;

use crate::params::clip;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;

/// The job that a path names. What is no id names no job.
pub(crate) struct PathJob(pub(crate) JobId);

impl FromRequestParts<ApiState> for PathJob {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let path: Result<Path<String>, _> = Path::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|_| Problem::new(Kind::UnknownJob, "the id of a job is a UUID"))?;
        let id = Uuid::try_parse(&text)
            .map_err(|_| Problem::unknown_job(format!("{:?}; the id of a job is a UUID", clip(&text))))?;
        // Some ids are those of streams that are no job's.
        if StreamId::from_uuid(id).job().is_none() {
            return Err(Problem::unknown_job(id));
        }
        Ok(Self(JobId(id)))
    }
}
