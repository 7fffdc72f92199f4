//! Texts while they are written, for people who watch. Not events: lost with the process; the finished text is one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use quillwork_domain::id::JobId;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// Longer drafts are shown up to here, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// Drafts that are known at once; more are not shown.
const MAX_DRAFTS: usize = 1_000;

/// A piece of a draft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub job: JobId,
    pub stage: String,
    /// Counts the drafts of the stage in its process from 1: a new one replaces what came before it.
    pub draft: u32,
    /// Where `text` belongs, in bytes from the beginning of the draft.
    pub offset: usize,
    pub text: String,
    /// Nothing more comes: the text is an event now, or it was given up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

/// Where stages write and watchers read along. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DraftBoard {
    drafts: Arc<Mutex<HashMap<JobId, Piece>>>,
    pieces: broadcast::Sender<Piece>,
    /// Those that this process writes.
    own: broadcast::Sender<Piece>,
}

impl Default for DraftBoard {
    fn default() -> Self {
        Self { drafts: Arc::default(), pieces: broadcast::channel(1_024).0, own: broadcast::channel(1_024).0 }
    }
}

impl DraftBoard {
    /// Begins a draft anew.
    pub fn begin(&self, job: JobId, stage: &str) {
        let draft = self.known(job, stage).map_or(0, |(draft, _)| draft) + 1;
        let (stage, text) = (stage.to_owned(), String::new());
        self.write(Piece { job, stage, draft, offset: 0, text, ended: false });
    }

    /// Adds to the draft that the stage has begun, unless another stage of the job has begun one since.
    pub fn push(&self, job: JobId, stage: &str, text: &str) {
        if let Some((draft, offset)) = self.known(job, stage) {
            let (stage, text) = (stage.to_owned(), text.to_owned());
            self.write(Piece { job, stage, draft, offset, text, ended: false });
        }
    }

    /// Forgets the draft of a stage that ended.
    pub fn end(&self, job: JobId, stage: &str) {
        if let Some((draft, offset)) = self.known(job, stage) {
            let (stage, text) = (stage.to_owned(), String::new());
            self.write(Piece { job, stage, draft, offset, text, ended: true });
        }
    }

    /// The number and the length of the stage's draft.
    fn known(&self, job: JobId, stage: &str) -> Option<(u32, usize)> {
        let drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = drafts.get(&job).filter(|piece| piece.stage == stage)?;
        Some((whole.draft, whole.text.len()))
    }

    fn write(&self, piece: Piece) {
        self.add(piece.clone());
        // Nobody listening is fine.
        let _ = self.own.send(piece);
    }

    /// Adds a piece that another process wrote where it belongs; one that belongs nowhere, because an earlier one is missing, is dropped.
    pub fn add(&self, piece: Piece) {
        let mut drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = drafts.get_mut(&piece.job).filter(|known| known.stage == piece.stage);
        match known {
            _ if piece.ended => {
                drafts.remove(&piece.job);
            }
            Some(known) if known.draft == piece.draft && known.text.len() == piece.offset => {
                if known.text.len() + piece.text.len() > MAX_BYTES {
                    return;
                }
                known.text.push_str(&piece.text);
            }
            Some(_) | None if piece.offset == 0 => {
                if drafts.len() >= MAX_DRAFTS && !drafts.contains_key(&piece.job) {
                    return;
                }
                drafts.insert(piece.job, piece.clone());
            }
            Some(_) | None => return,
        }
        // Nobody listening is fine. Under the lock, so that pieces come in order.
        let _ = self.pieces.send(piece);
    }

    /// All that is written of the job's draft so far, and the pieces of all jobs from there on; a slow listener misses
    /// some, and asks again.
    pub fn listen(&self, job: JobId) -> (Option<Piece>, broadcast::Receiver<Piece>) {
        let drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        (drafts.get(&job).cloned(), self.pieces.subscribe())
    }

    /// The pieces that this process writes from now on.
    pub fn own(&self) -> broadcast::Receiver<Piece> {
        self.own.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const STAGE: &str = "generation";
    const JOB: JobId = JobId(Uuid::from_u128(1));

    fn shown(piece: &Piece) -> (u32, usize, &str, bool) {
        (piece.draft, piece.offset, piece.text.as_str(), piece.ended)
    }

    #[tokio::test]
    async fn who_comes_late_gets_all_of_it_once() {
        let board = DraftBoard::default();
        board.push(JOB, STAGE, "before it began");
        board.begin(JOB, STAGE);
        board.push(JOB, STAGE, "one ");
        let (so_far, mut pieces) = board.listen(JOB);
        board.push(JOB, STAGE, "two");
        assert_eq!(shown(&so_far.unwrap()), (1, 0, "one ", false));
        assert_eq!(shown(&pieces.recv().await.unwrap()), (1, 4, "two", false));
        board.begin(JOB, STAGE);
        assert_eq!(shown(&pieces.recv().await.unwrap()), (2, 0, "", false));
        board.end(JOB, STAGE);
        assert_eq!(shown(&pieces.recv().await.unwrap()), (2, 0, "", true));
        assert_eq!(board.listen(JOB).0, None);
    }

    #[test]
    fn pieces_from_elsewhere_make_the_same_draft_or_none() {
        let (here, there) = (DraftBoard::default(), DraftBoard::default());
        let (_, mut pieces) = there.listen(JOB);
        there.begin(JOB, STAGE);
        there.push(JOB, STAGE, "one ");
        there.push(JOB, STAGE, "two");
        let pieces: Vec<Piece> = std::iter::from_fn(|| pieces.try_recv().ok()).collect();
        pieces.iter().cloned().for_each(|piece| here.add(piece));
        assert_eq!(shown(&here.listen(JOB).0.unwrap()), (1, 0, "one two", false));
        // Who was not there from the beginning waits for the next draft.
        let late = DraftBoard::default();
        pieces[2..].iter().cloned().for_each(|piece| late.add(piece));
        assert_eq!(late.listen(JOB).0, None);
    }

    #[test]
    fn drafts_are_bounded() {
        let board = DraftBoard::default();
        board.begin(JOB, STAGE);
        for _ in 0..3 {
            board.push(JOB, STAGE, &"x".repeat(MAX_BYTES / 2));
        }
        assert_eq!(board.listen(JOB).0.unwrap().text.len(), MAX_BYTES);
        (2..2 * MAX_DRAFTS as u128).for_each(|n| board.begin(JobId(Uuid::from_u128(n)), STAGE));
        assert!(board.listen(JobId(Uuid::from_u128(MAX_DRAFTS as u128 + 1))).0.is_none());
    }
}
