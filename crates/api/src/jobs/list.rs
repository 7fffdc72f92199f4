//! `GET /v1/jobs`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use quillwork_domain::id::Position;
use quillwork_domain::job::Status;
use quillwork_projections::JobFilter;

use crate::jobs::show::reach;
use crate::params::{MAX_POSITION, Params, clip};
use crate::problem::Problem;
use crate::schema;
use crate::state::ApiState;
use crate::tenant;
use crate::view::{JobView, Page};

const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 500;
const MAX_SEARCH_CHARS: usize = 200;

/// List jobs, newest first.
///
/// Filters combine. Pages are stable: a job that is submitted meanwhile does not move the others.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "listJobs",
    params(schema::ListQuery),
    responses((status = 200, description = "A page of jobs", body = schema::JobPage), schema::ReadProblems)
)]
pub(crate) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<Page<JobView>>, Problem> {
    let params = Params::read(
        &uri,
        &["status", "pipeline", "tenant", "label", "q", "cursor", "limit", "min_position"],
    )?;
    let filter = filter(&params)?;
    let limit = params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    if let Some(position) = params.number("min_position", 0..=MAX_POSITION)? {
        reach(&state, Position(position)).await?;
    }
    let page = state.models.jobs(&filter, usize::try_from(limit).unwrap_or(usize::MAX)).await?;
    Ok(Json(Page {
        items: page.items.into_iter().map(JobView::from).collect(),
        next_cursor: page.next.map(cursor),
    }))
}

fn filter(params: &Params) -> Result<JobFilter, Problem> {
    let status = params.get("status", |name| {
        let known = Status::ALL.map(Status::as_str).join(", ");
        Status::from_name(name).ok_or_else(|| format!("expected one of {known}, got {:?}", clip(name)))
    })?;
    let tenant = params.get("tenant", |name| match tenant::is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(format!("{}, got {:?}", tenant::EXPECTED, clip(name))),
    })?;
    let label = params.get("label", |label| match label.split_once(':') {
        Some((key, _)) if !key.is_empty() => Ok(label.to_owned()),
        Some(_) | None => Err(format!("expected key:value, got {:?}", clip(label))),
    })?;
    let search = params.get("q", |text| match text.chars().count() {
        1..=MAX_SEARCH_CHARS => Ok(text.to_owned()),
        n => Err(format!("expected 1 to {MAX_SEARCH_CHARS} characters, got {n}")),
    })?;
    let before = params.get("cursor", |text| {
        position(text).ok_or_else(|| format!("expected the next_cursor of a page, got {:?}", clip(text)))
    })?;
    let pipeline = params.text("pipeline").map(str::to_owned);
    Ok(JobFilter { status, pipeline, tenant, label, search, before })
}

/// The cursor of the page of jobs that were submitted before `position`.
fn cursor(position: Position) -> String {
    format!("b{:x}", position.0)
}

fn position(cursor: &str) -> Option<Position> {
    let digits = cursor.strip_prefix('b').filter(|digits| !digits.starts_with('+'))?;
    u64::from_str_radix(digits, 16).ok().map(Position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<JobFilter, Problem> {
        let uri = format!("/?{query}").parse().unwrap();
        filter(&Params::read(&uri, &["status", "pipeline", "tenant", "label", "q", "cursor"]).unwrap())
    }

    #[test]
    fn filters_are_read() {
        let filter = read("status=failed&tenant=acme&label=team:a:b&q=%25&cursor=bff").unwrap();
        assert_eq!(filter.status, Some(Status::Failed));
        assert_eq!(filter.tenant.as_deref(), Some("acme"));
        assert_eq!(filter.label.as_deref(), Some("team:a:b"));
        assert_eq!(filter.before, Some(Position(255)));
        for (query, field) in [
            ("status=done", "status"),
            ("tenant=a%20b", "tenant"),
            ("label=team", "label"),
            ("q=", "q"),
            ("cursor=b", "cursor"),
            ("cursor=b+1", "cursor"),
        ] {
            assert_eq!(read(query).unwrap_err().errors[0].field, field);
        }
    }

    #[test]
    fn cursors_return() {
        for n in [0, 1, 255, u64::MAX] {
            assert_eq!(position(&cursor(Position(n))), Some(Position(n)));
        }
    }
}
