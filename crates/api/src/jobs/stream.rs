//! `GET /v1/jobs/{id}/stream`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quillwork_app::draft::{Piece, joined};
use quillwork_app::feed::JobWatch;
use quillwork_app::progress::StageProgress;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, Position, Version};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::history::PAGE_EVENTS;
use crate::jobs::PathJob;
use crate::params::Params;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::{schema, sse};

/// Follow a job.
///
/// Server-sent events: every event of the job, with its position as `id`, and `progress` messages without one while a
/// stage runs. While a model writes, `draft` messages without one carry its text: `offset` is where `text` belongs, in
/// bytes; another `stage`, `attempt` or `draft` begins anew, and `ended` says that nothing more comes. Who comes late gets all that is written so far in one message. After a broken connection `Last-Event-ID` resumes without loss. The stream ends after the event that
/// ends the job; a client that comes back after that gets 204, which stops it from coming again.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/stream", tag = "events", operation_id = "streamJob",
    params(schema::JobPath, schema::Resume),
    responses(
        (status = 200, description = "Messages as they come", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The job has ended, and the client has seen all of it"),
        schema::ReadProblems, schema::UnknownJob,
    )
)]
pub(crate) async fn stream(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["last_event_id"])?;
    let seen = sse::last_event_id(&headers, &params)?.unwrap_or(Position::START);
    if state.ops.reader.stream(id.into(), Version::default(), 1).await?.is_empty() {
        return Err(Problem::unknown_job(id));
    }
    let watch = state.ops.engine.feed().watch(id);
    let (draft, pieces) = state.ops.engine.drafts().listen(id);
    let mut tail = Tail {
        draft,
        pieces,
        progress: state.ops.engine.progress().listen(),
        latest: state.ops.engine.progress().latest(id),
        state,
        job: id,
        version: Version::default(),
        seen,
        at_end: false,
    };
    // At once, so that the client has its headers even if nothing comes for a while.
    let first = match tail.read().await {
        Read::Messages(messages) => [sse::HELLO.as_bytes(), &messages].concat().into(),
        Read::Nothing => Bytes::from_static(sse::HELLO.as_bytes()),
        Read::End => return Ok(StatusCode::NO_CONTENT.into_response()),
        Read::Broken => {
            let problem = Problem::new(Kind::Unavailable, "the job's events cannot be read for now");
            return Err(problem.retry_after(std::time::Duration::from_secs(1)));
        }
    };
    let messages =
        futures::stream::unfold((Some(first), tail, watch), |(first, mut tail, watch)| async move {
            let message = match first {
                Some(first) => first,
                None => tail.next(&watch).await?,
            };
            Some((Ok::<_, Infallible>(message), (None, tail, watch)))
        });
    Ok(sse::response(messages))
}

/// So long pieces of a draft are gathered before they are sent together.
const GATHER: std::time::Duration = std::time::Duration::from_millis(50);

/// Where a client stands in a job's stream.
struct Tail {
    state: ApiState,
    job: JobId,
    progress: broadcast::Receiver<StageProgress>,
    /// What the running stages said before we listened.
    latest: Vec<StageProgress>,
    /// What there is of the draft and was not sent.
    draft: Option<Piece>,
    pieces: broadcast::Receiver<Arc<Piece>>,
    /// The last version that was read.
    version: Version,
    /// The last position that the client has.
    seen: Position,
    /// The last event that was read ends the job.
    at_end: bool,
}

/// What the log has for a client now.
enum Read {
    Messages(Bytes),
    Nothing,
    /// Nothing, and there will be nothing.
    End,
    /// It cannot be read.
    Broken,
}

impl Tail {
    /// The next events, without waiting for any.
    async fn read(&mut self) -> Read {
        loop {
            let events = match self.state.ops.reader.stream(self.job.into(), self.version, PAGE_EVENTS).await
            {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(cause = %error, job = %self.job, "a stream breaks off");
                    return Read::Broken;
                }
            };
            let Some(last) = events.last() else {
                return if self.at_end { Read::End } else { Read::Nothing };
            };
            self.version = last.version;
            self.at_end = ends_job(last);
            let mut text = String::new();
            for event in events.iter().filter(|event| event.position > self.seen) {
                if let Err(error) = sse::encode_recorded(&mut text, event) {
                    tracing::error!(cause = %error, job = %self.job, "a stream breaks off");
                    return Read::Broken;
                }
            }
            if !text.is_empty() {
                return Read::Messages(text.into());
            }
        }
    }

    /// The messages of what is written and was not sent.
    fn drafts(&mut self) -> Bytes {
        let mut pieces: Vec<Piece> = self.draft.take().into_iter().collect();
        loop {
            match self.pieces.try_recv() {
                Ok(piece) if piece.job == self.job => pieces.push(piece.as_ref().clone()),
                Ok(_) => {}
                Err(broadcast::error::TryRecvError::Lagged(_)) => {
                    self.listen_again();
                    pieces = self.draft.take().into_iter().collect();
                }
                Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => break,
            }
        }
        let messages: Vec<Bytes> = joined(pieces).iter().map(|piece| message("draft", piece)).collect();
        messages.concat().into()
    }

    /// Some pieces were missed: all of it, again.
    fn listen_again(&mut self) {
        (self.draft, self.pieces) = self.state.ops.engine.drafts().listen(self.job);
    }

    /// The next messages, however long they take; None at the end.
    async fn next(&mut self, watch: &JobWatch) -> Option<Bytes> {
        // Those of other jobs put it off as little as they cost a look at the log.
        let alive_at = Instant::now() + sse::KEEP_ALIVE;
        loop {
            // A client that is far behind must not hold up the end: it comes back elsewhere, and resumes.
            if self.state.ops.shutdown.is_cancelled() {
                return None;
            }
            // Registered before looking, so that nothing falls between the look and the wait.
            let changed = watch.changed();
            let read = self.read().await;
            // After the look, and sent before what it found: a draft is written before the event that ends it.
            let drafts = self.drafts();
            match read {
                Read::Messages(messages) => return Some([drafts, messages].concat().into()),
                Read::Nothing | Read::End if !drafts.is_empty() => return Some(drafts),
                Read::Nothing => {}
                // After a failure the client comes back by itself, and resumes.
                Read::End | Read::Broken => return None,
            }
            if !self.latest.is_empty() {
                let said = self.latest.drain(..).map(|progress| message("progress", &progress));
                return Some(said.collect::<Vec<_>>().concat().into());
            }
            tokio::select! {
                () = changed => {}
                progress = of(self.job, &mut self.progress, |progress| progress.job) => match progress {
                    Ok(progress) => return Some(message("progress", &progress)),
                    // Some were missed: the next one says more.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                piece = of(self.job, &mut self.pieces, |piece| piece.job) => match piece {
                    Ok(piece) => {
                        self.draft = Some(piece.as_ref().clone());
                        // A model writes faster than anyone reads.
                        tokio::time::sleep(GATHER).await;
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => self.listen_again(),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = tokio::time::sleep_until(alive_at) => {
                    return Some(Bytes::from_static(sse::ALIVE.as_bytes()));
                }
                () = self.state.ops.shutdown.cancelled() => return None,
            }
        }
    }
}

/// The next word about the job; those about others are passed over.
async fn of<T: Clone>(
    job: JobId,
    words: &mut broadcast::Receiver<T>,
    about: impl Fn(&T) -> JobId,
) -> Result<T, broadcast::error::RecvError> {
    loop {
        let word = words.recv().await?;
        if about(&word) == job {
            return Ok(word);
        }
    }
}

/// Without an id: it is not part of the history, and nobody resumes from it.
fn message(name: &str, said: &impl serde::Serialize) -> Bytes {
    let mut text = String::new();
    // Plain data: writing it cannot fail.
    sse::encode(&mut text, None, name, &serde_json::to_string(said).unwrap_or_default());
    text.into()
}

fn ends_job(recorded: &Recorded) -> bool {
    matches!(recorded.kind.as_ref(), "JobCompleted" | "JobFailed" | "JobCancelled")
}
