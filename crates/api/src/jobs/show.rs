//! `GET /v1/jobs/{id}`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use quillwork_app::clock;
use quillwork_domain::id::{JobId, Position, Version};
use quillwork_domain::time::Timestamp;
use quillwork_projections::JobSummary;
use tokio::time::Instant;

use crate::history::{self, Until};
use crate::jobs::PathJob;
use crate::params::{MAX_POSITION, Params};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::view::JobView;
use crate::{duration, schema};

/// How long a query still waits for its position once the process ends.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// Show a job.
///
/// `wait=30s` answers when the job is completed, failed or cancelled, or when the time is up. `min_position` (the
/// `position` that a command answered) waits until the answer shows that command's effect. `at_version` and `as_of`
/// show the job as it was, from the log.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "showJob",
    params(schema::JobPath, schema::ShowQuery),
    responses(
        (status = 200, description = "The job", body = schema::Job, headers(("ETag" = String, description = "Changes with the job; send it as If-None-Match"))),
        (status = 304, description = "The job is as the client knows it"),
        schema::ReadProblems, schema::UnknownJob,
    )
)]
pub(crate) async fn show(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["min_position", "wait", "at_version", "as_of"])?;
    let wait = params.get("wait", |text| {
        let wait = duration::parse(text)?;
        let most = state.limits.max_wait;
        if wait <= most { Ok(wait) } else { Err(format!("expected at most {}s, got {text}", most.as_secs())) }
    })?;
    let min_position = params.number("min_position", 0..=MAX_POSITION)?.map(Position);
    let job = match past(&params)? {
        Some(_) if wait.is_some() || min_position.is_some() => {
            return Err(Problem::field(
                "at_version",
                "the past does not change; leave out wait and min_position",
            ));
        }
        Some(until) => {
            let job = then(&state, id, until).await?;
            let unknown =
                || Problem::new(Kind::UnknownJob, format!("there is no job {id} at that version or time"));
            Some(job.ok_or_else(unknown)?)
        }
        None => {
            if let Some(position) = min_position {
                reach(&state, position).await?;
            }
            match wait {
                Some(wait) => wait_for_end(&state, id, wait).await?,
                None => find(&state, id).await?,
            }
        }
    };
    let job = job.ok_or_else(|| Problem::unknown_job(id))?;
    Ok(answer(job, &headers))
}

/// Which past the client asks for, if any.
fn past(params: &Params) -> Result<Option<Until>, Problem> {
    let version = params.number("at_version", 1..=MAX_POSITION)?.map(Version);
    let time = params.get("as_of", |text| text.parse::<Timestamp>().map_err(|error| error.to_string()))?;
    match (version, time) {
        (Some(_), Some(_)) => Err(Problem::field("as_of", "give at_version or as_of, not both")),
        (Some(version), None) => Ok(Some(Until::Version(version))),
        (None, Some(time)) => Ok(Some(Until::Time(time))),
        (None, None) => Ok(None),
    }
}

/// The job as it was; None if it did not exist then.
async fn then(state: &ApiState, id: JobId, until: Until) -> Result<Option<JobSummary>, Problem> {
    let job = history::fold(&state.ops.reader, id, until, |_| {}).await?;
    Ok(match until {
        Until::Now => job.map(|job| job.at(clock::now())),
        Until::Time(time) => job.map(|job| job.at(time)),
        // A version that is yet to come is not the one that is.
        Until::Version(version) => job.filter(|job| job.version == version).map(|job| {
            let then = job.updated_at;
            job.at(then)
        }),
    })
}

/// The job now. One that the read model does not show yet is read from the log.
pub(crate) async fn find(state: &ApiState, id: JobId) -> Result<Option<JobSummary>, Problem> {
    match state.models.job(id).await? {
        Some(job) => Ok(Some(job)),
        None => then(state, id, Until::Now).await,
    }
}

/// Waits, within bounds, until the read model shows `position`.
pub(crate) async fn reach(state: &ApiState, position: Position) -> Result<(), Problem> {
    if state.models.position() >= position {
        return Ok(());
    }
    if position > state.ops.engine.feed().head() {
        // Another process may have written it.
        let head = state.ops.reader.head().await?.position;
        if position > head {
            return Err(Problem::field("min_position", format!("the log ends at {head}, before {position}")));
        }
    }
    let reached = state.models.wait_for(position, state.limits.min_position_wait);
    tokio::pin!(reached);
    let reached = match state.ops.shutdown.run_until_cancelled(&mut reached).await {
        Some(reached) => reached,
        // Mostly it is a matter of milliseconds, and an answer is better than none.
        None => tokio::time::timeout(LAST_LOOK, reached).await.unwrap_or(false),
    };
    if reached {
        return Ok(());
    }
    let shown = state.models.position();
    let detail = format!("the read model is at position {shown}, before {position}; ask again");
    Err(Problem::new(Kind::Behind, detail).retry_after(Duration::from_secs(1)))
}

/// The job once it is completed, failed or cancelled, or when the time is up.
async fn wait_for_end(state: &ApiState, id: JobId, wait: Duration) -> Result<Option<JobSummary>, Problem> {
    let deadline = Instant::now() + wait;
    let feed = state.ops.engine.feed();
    let watch = feed.watch(id);
    loop {
        // Registered before looking, so that no change falls between the look and the wait.
        let changed = watch.changed();
        let left = deadline.saturating_duration_since(Instant::now());
        state.ops.shutdown.run_until_cancelled(state.models.wait_for(feed.head(), left)).await;
        let job = find(state, id).await?;
        if job.as_ref().is_none_or(|job| job.status.is_terminal()) {
            return Ok(job);
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep_until(deadline) => return find(state, id).await,
            () = state.ops.shutdown.cancelled() => return Ok(job),
        }
    }
}

fn answer(job: JobSummary, headers: &HeaderMap) -> Response {
    // The status belongs to it: a scheduled job becomes queued without a new version.
    let etag = format!("\"{}-{}\"", job.version, job.status);
    let mut response = if is_known(headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(JobView::from(job)).into_response()
    };
    if let Ok(etag) = HeaderValue::try_from(etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Whether the client has the representation called `etag`.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    // Comparison is weak here: a proxy that compresses makes our tag a weak one.
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_representation() {
        let known = |value: &str| {
            is_known(
                &HeaderMap::from_iter([(header::IF_NONE_MATCH, value.parse().unwrap())]),
                "\"3-running\"",
            )
        };
        assert!(known("\"3-running\""));
        assert!(known("\"2-queued\", W/\"3-running\""));
        assert!(known("*"));
        assert!(!known("\"4-running\""));
        assert!(!known("3-running"));
        assert!(!is_known(&HeaderMap::new(), "\"3-running\""));
    }

    #[test]
    fn one_past_at_a_time() {
        let read = |query: &str| {
            let uri = format!("/?{query}").parse().unwrap();
            past(&Params::read(&uri, &["at_version", "as_of"]).unwrap())
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("at_version=3"), Ok(Some(Until::Version(Version(3)))));
        assert!(matches!(read("as_of=2026-01-01T00:00:00Z"), Ok(Some(Until::Time(_)))));
        assert!(read("at_version=0").is_err());
        assert!(read("as_of=yesterday").is_err());
        assert!(read("at_version=3&as_of=2026-01-01T00:00:00Z").is_err());
    }
}
