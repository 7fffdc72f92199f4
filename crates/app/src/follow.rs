//! Letting a process know what the others write.

use crate::engine::Engine;
use crate::feed::Feed;
use crate::ports::store::{LogWatch, Notice};

/// Moves the feed on, and wakes the engine if there is one, whenever another process has written. Never ends.
pub async fn follow(mut watch: Box<dyn LogWatch>, feed: Feed, engine: Option<Engine>) {
    let mut seen = feed.head();
    loop {
        let notice = watch.next().await;
        let (Notice::Written { head, .. } | Notice::Unknown { head }) = notice;
        let grown = head > seen;
        let others = feed.of_others(seen, head);
        // The engine knows what it wrote itself.
        let is_ours = grown && others.is_empty();
        if let Some(engine) = engine.as_ref().filter(|_| !is_ours) {
            // Before the watchers, who only read: the engine has work to start.
            engine.notice(notice);
        }
        feed.advance(head);
        feed.wake_for(&others).await;
        seen = head.max(seen);
    }
}
