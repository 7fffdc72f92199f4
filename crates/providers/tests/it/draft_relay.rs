//! What one process writes, another one shows.

use std::time::Duration;

use quillwork_app::draft::{DraftBoard, Piece};
use quillwork_domain::id::{Attempt, JobId};
use quillwork_providers::draft_relay::relay;
use quillwork_test_servers::Redis;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::rate_limiter::server;

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Begins drafts on one board until one of them is whole on the other.
async fn shown(writer: &DraftBoard, reader: &DraftBoard) {
    let job = JobId(Uuid::now_v7());
    let (_, mut pieces) = reader.listen(job);
    let piece = |draft, offset, text: &str| {
        let (stage, text) = ("generation".to_owned(), text.to_owned());
        Piece { job, stage, attempt: Attempt(1), draft, offset, text, ended: false }
    };
    let mut draft = 0;
    let write = async {
        loop {
            draft += 1;
            writer.write(piece(draft, 0, "one "));
            writer.write(piece(draft, 4, "two"));
            // Whoever did not listen yet gets the next one.
            let heard = tokio::time::timeout(Duration::from_millis(200), async {
                while reader.listen(job).0.is_none_or(|piece| piece.text != "one two") {
                    if pieces.recv().await.is_err() {
                        return;
                    }
                }
            });
            if heard.await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, write).await.expect("the draft should be shown");
    writer.write(Piece { ended: true, ..piece(draft, 7, "") });
    let forget = async { while reader.listen(job).0.is_some() && pieces.recv().await.is_ok() {} };
    tokio::time::timeout(PATIENCE, forget).await.expect("the draft should be forgotten");
}

#[tokio::test]
async fn drafts_go_both_ways_and_again_after_redis_was_away() {
    let redis = Redis::start();
    let boards = [DraftBoard::default(), DraftBoard::default()];
    let mut relays = JoinSet::new();
    for board in &boards {
        relays.spawn(relay(board.clone(), server(redis.url())));
    }
    shown(&boards[0], &boards[1]).await;
    shown(&boards[1], &boards[0]).await;
    redis.kill();
    redis.start_again();
    shown(&boards[0], &boards[1]).await;
}
