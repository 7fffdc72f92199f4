//! Around every request: its correlation id, its log line, its metrics, and the writing of problems.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use quillwork_app::engine::Caller;
use uuid::Uuid;

use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::tenant;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_ACTOR: HeaderName = HeaderName::from_static("x-actor");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Names longer than this are refused.
const MAX_ACTOR: usize = 128;

/// Under which request somebody asks, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) correlation_id: Uuid,
    pub(crate) tenant: Arc<str>,
}

impl Context {
    /// The caller, for the record.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        Ok(Caller {
            actor: actor(headers)?.into(),
            tenant: self.tenant.clone(),
            correlation_id: self.correlation_id,
            traceparent: traceparent(headers),
        })
    }
}

impl FromRequestParts<ApiState> for Context {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Infallible> {
        let context = parts.extensions.get::<Self>().cloned();
        let new = || Self { correlation_id: Uuid::now_v7(), tenant: tenant::DEFAULT.into() };
        Ok(context.unwrap_or_else(new))
    }
}

/// `X-Actor`, or `client`. No control characters: the hash chain has one line per field.
fn actor(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(actor) = headers.get(X_ACTOR) else { return Ok("client".to_owned()) };
    visible_ascii(actor, MAX_ACTOR).map(str::to_owned).ok_or_else(|| {
        Problem::field("X-Actor", format!("expected 1 to {MAX_ACTOR} visible ASCII characters"))
    })
}

/// The header's text, if it is 1 to `max` visible ASCII characters.
pub(crate) fn visible_ascii(value: &HeaderValue, max: usize) -> Option<&str> {
    let text = value.to_str().ok()?;
    ((1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())).then_some(text)
}

/// The W3C trace context, if it is one of version 00; anything else is as good as none.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else { return None };
    let hex = |s: &str, len| s.len() == len && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let named = |s: &str| s.bytes().any(|b| b != b'0');
    let valid = *version == "00"
        && hex(trace, 32)
        && named(trace)
        && hex(parent, 16)
        && named(parent)
        && hex(flags, 2);
    valid.then(|| text.to_owned())
}

/// The middleware around all routes.
pub(crate) async fn around(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let given = request.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
    let (correlation_id, given) = match given.map(|id| Uuid::try_parse(id).map_err(|_| id.to_owned())) {
        Some(Ok(id)) => (id, None),
        Some(Err(name)) => (Uuid::now_v7(), Some(name)),
        None => (Uuid::now_v7(), None),
    };
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);

    let tenant =
        if path.starts_with("/v1/") { tenant::of(request.headers()) } else { Ok(tenant::DEFAULT.into()) };
    let mut response = match tenant {
        Ok(tenant) => {
            request.extensions_mut().insert(Context { correlation_id, tenant });
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };

    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        write(&mut response, problem, correlation_id, &path);
    }
    if let Ok(id) = HeaderValue::try_from(correlation_id.to_string()) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    if state.ops.is_ending() {
        // The client's next request goes to another process, before this one is gone.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let (status, elapsed) = (response.status(), started.elapsed());
    state.metrics.observe(&method, route, status, elapsed);
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    // One line has all that is known of a request. A span around each would be written down field by field, and most
    // requests have nothing to say.
    macro_rules! answered {
        ($level:ident) => {
            tracing::$level!(
                %correlation_id,
                // What the client called it, when that is not a UUID.
                request_id = given.as_deref(),
                %method,
                path,
                status = status.as_u16(),
                ms,
                cause = problem.as_ref().and_then(|problem| problem.cause.as_deref()),
                "answered"
            )
        };
    }
    // What went well is in the metrics, and what it did is in the log of events.
    match status.as_u16() {
        500 => answered!(error),
        501.. => answered!(warn),
        400..500 => answered!(info),
        _ => answered!(debug),
    }
    response
}

fn write(response: &mut Response, problem: &Problem, correlation_id: Uuid, path: &str) {
    // A problem is plain data: writing it cannot fail.
    let body = serde_json::to_vec(&problem.body(correlation_id, Some(path))).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
}

/// What a panic in a handler becomes.
pub(crate) fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let panic = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    let detail = "the request met a defect; the service's log has it under the correlation id";
    Problem { cause: Some(format!("a handler panicked: {panic}")), ..Problem::new(Kind::Internal, detail) }
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn only_a_whole_trace_context_is_carried() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traceparent(&headers(TRACEPARENT, good)).as_deref(), Some(good));
        for bad in [
            "",
            "00-abc",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert_eq!(traceparent(&headers(TRACEPARENT, bad)), None, "{bad}");
        }
    }

    #[test]
    fn an_actor_is_one_visible_word() {
        assert_eq!(actor(&HeaderMap::new()).unwrap(), "client");
        assert_eq!(actor(&headers(X_ACTOR, "ci@example")).unwrap(), "ci@example");
        for bad in ["", "two words", &"x".repeat(129)] {
            assert_eq!(actor(&headers(X_ACTOR, bad)).unwrap_err().errors[0].field, "X-Actor");
        }
    }
}
