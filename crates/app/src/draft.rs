//! Texts while they are written, for people who watch. Not events: lost with the process; the finished text is one.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use quillwork_domain::id::{Attempt, JobId};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// Longer drafts are shown up to here, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// Drafts that are known at once. The end of one may be lost with the process that wrote it, so the oldest make room.
const MAX_DRAFTS: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// A piece of a draft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub job: JobId,
    pub stage: String,
    pub attempt: Attempt,
    /// Counts the drafts of the attempt from 1: a new one replaces what came before it.
    pub draft: u32,
    /// Where `text` belongs, in bytes from the beginning of the draft.
    pub offset: usize,
    pub text: String,
    /// Nothing more comes: the text is an event now, or it was given up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

impl Piece {
    fn is_of(&self, other: &Self) -> bool {
        (self.job, &self.stage, self.attempt, self.draft)
            == (other.job, &other.stage, other.attempt, other.draft)
    }
}

/// Where stages write and watchers read along. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DraftBoard {
    /// What there is of each job's latest draft.
    drafts: Arc<Mutex<LruCache<JobId, Piece>>>,
    pieces: broadcast::Sender<Arc<Piece>>,
    /// Those that this process writes.
    own: broadcast::Sender<Arc<Piece>>,
}

impl Default for DraftBoard {
    fn default() -> Self {
        Self {
            drafts: Arc::new(Mutex::new(LruCache::new(MAX_DRAFTS))),
            pieces: broadcast::channel(1_024).0,
            own: broadcast::channel(1_024).0,
        }
    }
}

impl DraftBoard {
    /// Adds a piece that a stage of this process wrote.
    pub fn write(&self, piece: Piece) {
        let piece = Arc::new(piece);
        self.add(piece.clone());
        // Nobody listening is fine.
        let _ = self.own.send(piece);
    }

    /// Adds a piece where it belongs; one that belongs nowhere, because an earlier one is missing, is dropped.
    pub fn add(&self, piece: Arc<Piece>) {
        let mut drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        match drafts.get_mut(&piece.job).filter(|known| known.is_of(&piece)) {
            Some(known) => {
                let length = known.text.len() + piece.text.len();
                if known.text.len() != piece.offset || length > MAX_BYTES {
                    return;
                }
                known.text.push_str(&piece.text);
                if piece.ended {
                    drafts.pop(&piece.job);
                }
            }
            None if piece.offset == 0 && !piece.ended => {
                drafts.push(piece.job, piece.as_ref().clone());
            }
            None => return,
        }
        // Under the lock, so that pieces come in order.
        let _ = self.pieces.send(piece);
    }

    /// All that is written of the job's draft so far, and the pieces of all jobs from there on; a slow listener misses
    /// some, and asks again.
    pub fn listen(&self, job: JobId) -> (Option<Piece>, broadcast::Receiver<Arc<Piece>>) {
        let drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        (drafts.peek(&job).cloned(), self.pieces.subscribe())
    }

    /// The pieces that this process writes from now on.
    pub fn own(&self) -> broadcast::Receiver<Arc<Piece>> {
        self.own.subscribe()
    }
}

/// The same pieces, with those in one that follow each other.
pub fn joined(pieces: impl IntoIterator<Item = Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        let last = joined.iter_mut().rev().find(|last| last.job == piece.job);
        match last.filter(|last| last.is_of(&piece) && last.offset + last.text.len() == piece.offset) {
            Some(last) => {
                last.text.push_str(&piece.text);
                last.ended = piece.ended;
            }
            None => joined.push(piece),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn job(n: u128) -> JobId {
        JobId(Uuid::from_u128(n))
    }

    fn piece(n: u128, draft: u32, offset: usize, text: &str) -> Piece {
        let (stage, text) = ("generation".to_owned(), text.to_owned());
        Piece { job: job(n), stage, attempt: Attempt(1), draft, offset, text, ended: false }
    }

    fn end(n: u128, draft: u32, offset: usize) -> Piece {
        Piece { ended: true, ..piece(n, draft, offset, "") }
    }

    #[test]
    fn who_comes_late_gets_all_of_it_once() {
        let board = DraftBoard::default();
        board.write(piece(1, 1, 3, "before it began"));
        board.write(piece(1, 1, 0, "one "));
        let (so_far, mut pieces) = board.listen(job(1));
        assert_eq!(so_far, Some(piece(1, 1, 0, "one ")));
        let later = [piece(1, 1, 4, "two"), piece(1, 2, 0, ""), end(1, 2, 0)];
        later.iter().cloned().for_each(|piece| board.write(piece));
        for expected in &later {
            assert_eq!(pieces.try_recv().unwrap().as_ref(), expected);
        }
        assert_eq!(board.listen(job(1)).0, None);
    }

    #[test]
    fn the_end_of_an_earlier_attempt_is_not_that_of_a_later_one() {
        let board = DraftBoard::default();
        board.write(piece(1, 1, 0, "one"));
        let second = Piece { attempt: Attempt(2), ..piece(1, 1, 0, "two") };
        board.write(second.clone());
        board.write(end(1, 1, 3));
        assert_eq!(board.listen(job(1)).0, Some(second));
    }

    #[test]
    fn drafts_are_bounded_in_length_and_number() {
        let board = DraftBoard::default();
        for n in 0..3 {
            board.write(piece(1, 1, n * MAX_BYTES / 2, &"x".repeat(MAX_BYTES / 2)));
        }
        assert_eq!(board.listen(job(1)).0.unwrap().text.len(), MAX_BYTES);
        (2..2 + MAX_DRAFTS.get() as u128).for_each(|n| board.write(piece(n, 1, 0, "new")));
        assert_eq!(board.listen(job(1)).0, None, "the oldest makes room");
        assert!(board.listen(job(1 + MAX_DRAFTS.get() as u128)).0.is_some());
    }

    #[test]
    fn pieces_that_follow_each_other_become_one() {
        let pieces = [
            piece(1, 1, 0, "one"),
            piece(2, 1, 0, "other"),
            piece(1, 1, 3, "two"),
            end(1, 1, 6),
            piece(1, 2, 0, "again"),
            piece(1, 2, 9, "after a gap"),
        ];
        let whole = Piece { ended: true, ..piece(1, 1, 0, "onetwo") };
        let expected =
            [whole, piece(2, 1, 0, "other"), piece(1, 2, 0, "again"), piece(1, 2, 9, "after a gap")];
        assert_eq!(joined(pieces), expected);
    }
}
