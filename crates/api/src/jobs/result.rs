//! `GET /v1/jobs/{id}/result`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use quillwork_app::{clock, payload};
use quillwork_domain::job::{self, Status};
use quillwork_domain::payload::Payload;
use quillwork_projections::JobSummary;
use quillwork_text::render::{escaped, to_html};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use crate::accept::negotiate;
use crate::history::{self, Until};
use crate::jobs::PathJob;
use crate::problem::{Kind, Problem};
use crate::schema;
use crate::state::ApiState;

const MARKDOWN: &str = "text/markdown";
const HTML: &str = "text/html";
const JSON: &str = "application/json";

/// How many results are put into shape at once; more wait their turn.
static TURNS: Semaphore = Semaphore::const_new(8);

/// What the result must have to be an article.
#[derive(Deserialize)]
struct Article {
    title: Option<String>,
    markdown: String,
}

/// Get the result of a completed job.
///
/// An article is there as Markdown (unless the client asks for something else), as a page of HTML, and as JSON with
/// its sources. The result of a pipeline that writes no article is there as JSON only.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/result", tag = "jobs", operation_id = "getResult",
    params(schema::JobPath),
    responses(
        (status = 200, description = "The result", content(
            (String = "text/markdown"), (String = "text/html"), (schema::Article = "application/json"),
        )),
        (status = 406, description = "There is no such representation", body = schema::Problem, content_type = "application/problem+json"),
        (status = 409, description = "The job is not finished (with Retry-After), or it ended without a result (with its error)", body = schema::Problem, content_type = "application/problem+json"),
        schema::ReadProblems, schema::UnknownJob,
    )
)]
pub(crate) async fn result(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut outputs: HashMap<String, Payload> = HashMap::new();
    let summary = history::fold(&state.ops.reader, id, Until::Now, |entry| {
        if let job::Event::StageCompleted(completed) = &entry.event {
            // A later round takes the place of an earlier one.
            outputs.insert(completed.stage.clone(), completed.output.clone());
        }
    })
    .await?;
    let summary = summary.ok_or_else(|| Problem::unknown_job(id))?.at(clock::now());
    finished(&summary)?;
    // A result may be large, and is in memory more than once while it is put into shape. The semaphore is never closed.
    let _turn = TURNS.acquire().await.ok();

    let mut last = None;
    let mut found = None;
    // In plan order: which of several stages was done last is chance.
    for output in summary.stages.iter().rev().filter_map(|stage| outputs.get(stage)) {
        let json = payload::unpack(state.ops.reader.as_ref(), output).await?;
        if let Ok(article) = serde_json::from_str::<Article>(json.get()) {
            found = Some((json, article));
            break;
        }
        last.get_or_insert(json);
    }
    match (found, last) {
        (Some((json, article)), _) => match negotiate(&headers, &[MARKDOWN, HTML, JSON])? {
            HTML => {
                Ok(respond(HTML, page(article.title.as_deref().unwrap_or(&summary.topic), &article.markdown)))
            }
            JSON => Ok(json_response(&json)),
            _ => Ok(respond(MARKDOWN, article.markdown)),
        },
        (None, Some(json)) => {
            negotiate(&headers, &[JSON])?;
            Ok(json_response(&json))
        }
        (None, None) => {
            Err(Problem::new(Kind::NoResult, "the job is completed, and no stage left an output"))
        }
    }
}

/// Refuses a job that has no result.
pub(crate) fn finished(job: &JobSummary) -> Result<(), Problem> {
    match job.status {
        Status::Completed => Ok(()),
        Status::Failed => {
            let reason = job.error.as_ref().map_or_else(String::new, |error| format!(": {}", error.message));
            let problem = Problem::new(
                Kind::NoResult,
                format!("the job failed{reason}; POST …/retry sets it going again"),
            );
            Err(Problem { job_error: job.error.clone().map(Box::new), ..problem })
        }
        Status::Cancelled => {
            Err(Problem::new(Kind::NoResult, "the job was cancelled; POST …/retry sets it going again"))
        }
        Status::Scheduled | Status::Queued | Status::Running | Status::Retrying | Status::Paused => {
            let due = job.run_at.filter(|_| job.status == Status::Scheduled).or(job.retry_at);
            let wait = due.map_or(Duration::ZERO, |due| due.since(clock::now()));
            let detail =
                format!("the job is {}; GET /v1/jobs/{}?wait=30s waits for its end", job.status, job.id);
            let wait = wait.clamp(Duration::from_secs(1), Duration::from_secs(3_600));
            Err(Problem::new(Kind::NotFinished, detail).retry_after(wait))
        }
    }
}

fn json_response(json: &Arc<RawValue>) -> Response {
    respond(JSON, json.get().to_owned())
}

fn respond(media_type: &'static str, body: String) -> Response {
    // JSON is UTF-8 without saying so.
    let charset = if media_type == JSON { "" } else { "; charset=utf-8" };
    let content_type = format!("{media_type}{charset}");
    let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
    for (name, value) in [
        (header::VARY, "accept"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Texts come from the outside: nothing in them may run.
        (HeaderName::from_static("content-security-policy"), "default-src 'none'; style-src 'unsafe-inline'"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A page that needs nothing else. HTML in the Markdown shows as text.
fn page(title: &str, markdown: &str) -> String {
    let (safe_title, body) = (escaped(title), to_html(markdown));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{safe_title}</title>\
         <style>body{{max-width:42rem;margin:2rem auto;padding:0 1rem;font:1rem/1.6 Georgia,serif}}\
         pre{{overflow-x:auto}}blockquote{{border-left:3px solid #999;margin-left:0;padding-left:1rem}}</style>\
         </head><body>\n{body}</body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_run_nothing() {
        let html = page(
            "a <b> & c",
            "# Hi\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) [y](https://e.org)\n",
        );
        assert!(html.contains("<title>a &lt;b&gt; &amp; c</title>"), "{html}");
        assert!(html.contains("<h1>Hi</h1>"));
        assert!(!html.contains("<script"));
        assert!(!html.contains("javascript:"));
        assert!(html.contains("href=\"https://e.org\""));
    }
}
