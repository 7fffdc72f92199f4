//! What one process tells the others, as the text of a notification: `<before> <head> <what> <handler,handler>`.
//!
//! `<before>` and `<head>` are the ends of the log before and after. `<what>` is `c` if a job was cancelled, `-` if not, and
//! `?` if whoever cares must look.

use std::collections::BTreeSet;

use quillwork_app::ports::store::{Batch, Head, News, Notice};
use quillwork_domain::id::Position;

/// PostgreSQL sends less than 8,000 bytes.
const MAX_BYTES: usize = 7_900;

/// Who else is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    Nobody,
    /// Processes that want to hear of work, and of nothing else.
    Workers,
    /// Somebody wants to hear everything.
    All,
}

impl Audience {
    /// True if somebody wants to hear of a commit with these news.
    pub(super) fn wants(self, News { waiting, cancelled }: &News) -> bool {
        match self {
            Self::Nobody => false,
            Self::Workers => *cancelled || !waiting.is_empty(),
            Self::All => true,
        }
    }
}

/// What to tell of a batch that is committed after `expected`.
pub(super) fn write(expected: Head, batch: &Batch) -> String {
    let head = batch.entries.last().map_or(expected.position, |entry| entry.recorded.position);
    let what = if batch.news.cancelled { 'c' } else { '-' };
    let handlers: Vec<&str> = batch.news.waiting.iter().map(|handler| &**handler).collect();
    let before = expected.position;
    let text = format!("{before} {head} {what} {}", handlers.join(","));
    if text.len() > MAX_BYTES { format!("{before} {head} ?") } else { text }
}

/// What was told. `Unknown` if it cannot be read, as from a newer version.
pub(super) fn read(text: &str) -> Notice {
    let mut words = text.split(' ');
    let mut position = || Position(words.next().and_then(|word| word.parse().ok()).unwrap_or_default());
    let (before, head) = (position(), position());
    let cancelled = match words.next() {
        Some("c") => true,
        Some("-") => false,
        Some(_) | None => return Notice::Unknown { head },
    };
    let waiting = words.next().unwrap_or_default().split(',').filter(|name| !name.is_empty());
    Notice::Written { before, head, news: News { waiting: waiting.map(Into::into).collect(), cancelled } }
}

/// Two notices as one. Whoever knows what was before the second one knows what was before the first.
pub(super) fn both(first: Notice, second: Notice) -> Notice {
    let head = position(&first).max(position(&second));
    match (first, second) {
        (
            Notice::Written { before: earlier, news: first, .. },
            Notice::Written { before: later, news: second, .. },
        ) => {
            let before = earlier.max(later);
            let waiting: BTreeSet<_> = first.waiting.into_iter().chain(second.waiting).collect();
            let cancelled = first.cancelled || second.cancelled;
            Notice::Written { before, head, news: News { waiting, cancelled } }
        }
        (Notice::Unknown { .. }, _) | (_, Notice::Unknown { .. }) => Notice::Unknown { head },
    }
}

/// How far the log has grown, as far as a notice knows.
pub(super) fn position(notice: &Notice) -> Position {
    match notice {
        Notice::Written { head, .. } | Notice::Unknown { head } => *head,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(waiting: &[&str], cancelled: bool) -> Notice {
        let news = News { waiting: waiting.iter().map(|name| (*name).into()).collect(), cancelled };
        let batch = Batch { news, ..Batch::default() };
        read(&write(Head { position: Position(12), ..Head::EMPTY }, &batch))
    }

    fn written(before: u64, head: u64, waiting: &[&str], cancelled: bool) -> Notice {
        let news = News { waiting: waiting.iter().map(|name| (*name).into()).collect(), cancelled };
        Notice::Written { before: Position(before), head: Position(head), news }
    }

    #[test]
    fn what_is_told_is_heard() {
        assert_eq!(told(&[], false), written(12, 12, &[], false));
        assert_eq!(told(&["write_2", "a-b"], true), written(12, 12, &["a-b", "write_2"], true));
        assert_eq!(read("4 6 - a"), written(4, 6, &["a"], false));
    }

    #[test]
    fn workers_are_told_of_work_alone() {
        let news = |waiting: &[&str], cancelled| News {
            waiting: waiting.iter().map(|name| (*name).into()).collect(),
            cancelled,
        };
        for (audience, of_events, of_tasks, of_cancelled) in [
            (Audience::Nobody, false, false, false),
            (Audience::Workers, false, true, true),
            (Audience::All, true, true, true),
        ] {
            let wants = |waiting, cancelled| audience.wants(&news(waiting, cancelled));
            assert_eq!(
                (wants(&[], false), wants(&["a"], false), wants(&[], true)),
                (of_events, of_tasks, of_cancelled)
            );
        }
    }

    #[test]
    fn too_much_is_told_as_unknown() {
        let names: Vec<String> = (0..900).map(|n| format!("handler-{n:04}")).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        assert_eq!(told(&names, false), Notice::Unknown { head: Position(12) });
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let unknown = |text| assert_eq!(read(text), Notice::Unknown { head: Position(7) });
        unknown("7 7 ?");
        unknown("0 7 ?");
        unknown("6 7");
        unknown("6 7 new words");
        assert_eq!(read(""), Notice::Unknown { head: Position(0) });
    }

    #[test]
    fn two_are_one() {
        let (first, second) = (written(1, 3, &["a"], false), written(6, 7, &["b"], true));
        assert_eq!(both(first.clone(), second), written(6, 7, &["a", "b"], true));
        let unknown = Notice::Unknown { head: Position(9) };
        assert_eq!(both(first.clone(), unknown.clone()), unknown);
        assert_eq!(both(unknown.clone(), first), unknown);
    }
}
