//! Letting a process know what the others write.

use crate::engine::Engine;
use crate::feed::Feed;
use crate::ports::store::{LogWatch, Notice};

/// Moves the feed on, and wakes the engine if there is one, whenever another process has written. Never ends.
pub async fn follow(mut watch: Box<dyn LogWatch>, feed: Feed, engine: Option<Engine>) {
    let mut seen = feed.head();
    loop {
        let notice = watch.next().await;
        let (head, is_vague) = match &notice {
            Notice::Written { head, .. } => (*head, false),
            Notice::Unknown { head } => (*head, true),
        };
        let grown = head > seen;
        let others = feed.of_others(seen, head);
        // Alone, a process writes without a word, and what it hears of is its own doing.
        let is_ours = is_vague && grown && others.is_empty();
        if let Some(engine) = engine.as_ref().filter(|_| !is_ours) {
            // Before the watchers, who only read: the engine has work to start.
            engine.notice(notice);
        }
        feed.advance(head);
        feed.wake_for(&others).await;
        seen = head.max(seen);
    }
}
