//! Letting a process know what the others write.

use quillwork_domain::id::Position;

use crate::engine::Engine;
use crate::feed::Feed;
use crate::ports::store::{LogWatch, Notice};

/// Moves the feed on, and wakes the engine if there is one, whenever another process has written. Never ends.
pub async fn follow(mut watch: Box<dyn LogWatch>, feed: Feed, engine: Option<Engine>) {
    let mut seen = feed.head();
    loop {
        let notice = watch.next().await;
        let notice = understood(notice, seen.max(feed.head()));
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

/// What a notice means to a process that knows the log up to `known`. What others wrote in silence before it may have
/// let tasks wait, too.
fn understood(notice: Notice, known: Position) -> Notice {
    match notice {
        Notice::Written { before, head, .. } if before > known => Notice::Unknown { head },
        told @ (Notice::Written { .. } | Notice::Unknown { .. }) => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::store::News;

    #[test]
    fn what_comes_after_a_silence_is_unknown() {
        let (before, head) = (Position(4), Position(6));
        let told = Notice::Written { before, head, news: News::default() };
        assert_eq!(understood(told.clone(), Position(4)), told);
        assert_eq!(understood(told.clone(), Position(9)), told);
        assert_eq!(understood(told, Position(3)), Notice::Unknown { head });
    }
}
