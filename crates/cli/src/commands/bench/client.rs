//! The clients: each sends the requests of its turns over one connection until each has its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::collect::Note;
use super::connection::{Call, CallError, Connection, Target};
use super::schedule::{Schedule, Turn};
use super::{query, submit};

/// Pause after a connection broke.
const RECONNECT: Duration = Duration::from_millis(100);

/// What the clients do together.
pub(super) struct Load {
    pub(super) target: Target,
    pub(super) work: Work,
    pub(super) clients: usize,
    /// Requests start on it.
    pub(super) schedule: Schedule,
}

/// What is asked of the server.
pub(super) enum Work {
    /// To take jobs; several in a request if `batch` is more than one.
    Submit { pipeline: String, batch: u64 },
    /// To show one of these jobs, which are at least one.
    Query(Vec<Uuid>),
}

/// Starts the clients in `tasks`; they report to `notes` and end when everything was answered.
pub(super) fn start(load: Load, notes: &Sender<Note>, tasks: &mut JoinSet<()>) {
    let load = Arc::new(load);
    for _ in 0..load.clients {
        tasks.spawn(Client { load: load.clone(), notes: notes.clone(), connection: None }.run());
    }
}

struct Client {
    load: Arc<Load>,
    notes: Sender<Note>,
    connection: Option<Connection>,
}

impl Client {
    async fn run(mut self) {
        // Connecting is not part of what is measured.
        self.connection = self.load.target.connect().await.ok();
        while let Some(turn) = self.load.schedule.turn().await {
            let call = self.load.work.call(turn);
            let answer = self.until_answered(call, turn).await;
            let answered = Instant::now();
            let Some(answer) = answer else { continue };
            let note = match &self.load.work {
                Work::Submit { .. } => Note::Accepted {
                    ids: submit::ids(&answer),
                    of: turn.n_items,
                    start: turn.start,
                    answered,
                },
                Work::Query(_) => Note::Shown { start: turn.start, answered },
            };
            // Nobody listens any more once the patience is at its end.
            if self.notes.send(note).await.is_err() {
                return;
            }
        }
    }

    /// The body of a good answer; None once the server has refused for good, or nobody listens.
    async fn until_answered(&mut self, call: Call, turn: Turn) -> Option<Bytes> {
        loop {
            let error = match self.call(&call).await {
                Ok(answer) => return Some(answer),
                Err(error) => error,
            };
            let (note, pause) = match error {
                CallError::Busy { status, retry_after } => {
                    (Note::Trouble(format!("HTTP {}", status.as_u16())), retry_after)
                }
                CallError::Refused(status) => {
                    let kind = format!("HTTP {}", status.as_u16());
                    // As above.
                    let _ = self.notes.send(Note::Refused { kind, n_items: turn.n_items }).await;
                    return None;
                }
                CallError::Broken(what) => {
                    self.connection = None;
                    (Note::Trouble(format!("broken {what}")), RECONNECT)
                }
            };
            self.notes.send(note).await.ok()?;
            tokio::time::sleep(pause).await;
        }
    }

    async fn call(&mut self, call: &Call) -> Result<Bytes, CallError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.load.target.connect().await?),
        };
        connection.call(call).await
    }
}

impl Work {
    fn call(&self, turn: Turn) -> Call {
        match self {
            Self::Submit { pipeline, batch } => submit::call(pipeline, *batch, turn),
            Self::Query(jobs) => query::call(jobs, turn),
        }
    }
}
