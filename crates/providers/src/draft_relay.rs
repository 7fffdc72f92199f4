//! Drafts from the processes that write them to those that show them, over Redis.
//!
//! Nothing waits for it: while Redis is away, only the process that writes a draft can show it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use quillwork_app::draft::{DraftBoard, Piece, joined};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use crate::redis_server::RedisServer;

const CHANNEL: &str = "quillwork:drafts";

/// Pieces are told together after so long.
const GATHER: Duration = Duration::from_millis(50);

/// Before listening is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A piece as it travels.
#[derive(Serialize, Deserialize)]
struct Told {
    /// The process that wrote it.
    by: Uuid,
    #[serde(flatten)]
    piece: Piece,
}

/// Tells others what this process writes on `board`, and writes down there what others tell. Never ends by itself.
pub async fn relay(board: DraftBoard, server: RedisServer) {
    let me = Uuid::now_v7();
    tokio::join!(tell(me, board.own(), &server), hear(me, &board, &server));
}

async fn tell(me: Uuid, mut pieces: Receiver<Arc<Piece>>, server: &RedisServer) {
    loop {
        let mut gathered = match pieces.recv().await {
            Ok(piece) => vec![piece.as_ref().clone()],
            // What was missed makes later pieces belong nowhere, until the next draft.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        tokio::time::sleep(GATHER).await;
        while let Ok(piece) = pieces.try_recv() {
            gathered.push(piece.as_ref().clone());
        }
        let mut pipeline = redis::pipe();
        for piece in joined(gathered) {
            // Plain data: writing it cannot fail.
            let told = serde_json::to_vec(&Told { by: me, piece }).unwrap_or_default();
            pipeline.publish(CHANNEL, told).ignore();
        }
        // Without an answer it was told, or it was not.
        let _: Option<()> = server.call(async |mut redis| pipeline.query_async(&mut redis).await).await;
    }
}

async fn hear(me: Uuid, board: &DraftBoard, server: &RedisServer) {
    loop {
        // That Redis is away is said by those who need it.
        if let Ok(mut listener) = server.listener().await
            && listener.subscribe(CHANNEL).await.is_ok()
        {
            let mut messages = listener.on_message();
            while let Some(message) = messages.next().await {
                let told = serde_json::from_slice::<Told>(message.get_payload_bytes());
                if let Ok(Told { by, piece }) = told
                    && by != me
                {
                    board.add(Arc::new(piece));
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}
