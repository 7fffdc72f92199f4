//! Which events this process wrote itself, so that it need not look for them.

use std::collections::VecDeque;

use quillwork_domain::id::Position;

/// Runs of positions, in order; neighbours are one run. Forgotten as soon as they were asked about.
#[derive(Debug, Default)]
pub(super) struct OwnEvents {
    runs: VecDeque<(Position, Position)>,
}

impl OwnEvents {
    /// This process wrote the events from `first` to `last`, after everything that was added before.
    pub(super) fn add(&mut self, first: Position, last: Position) {
        match self.runs.back_mut() {
            Some((_, end)) if end.next() == first => *end = last,
            Some(_) | None => self.runs.push_back((first, last)),
        }
    }

    /// The runs of events after `after` and up to `head` that others wrote: what comes after the first position, up to
    /// the second. What is up to `head` is forgotten.
    pub(super) fn others(&mut self, after: Position, head: Position) -> Vec<(Position, Position)> {
        let mut others = Vec::new();
        let mut seen = after;
        while let Some((first, last)) = self.runs.front_mut() {
            if *first > head {
                break;
            }
            if first.0 > seen.0 + 1 {
                others.push((seen, Position(first.0 - 1)));
            }
            seen = seen.max(*last);
            if *last > head {
                *first = head.next();
                break;
            }
            self.runs.pop_front();
        }
        if seen < head {
            others.push((seen, head));
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(own: &[(u64, u64)], asked: &[(u64, u64)], expected: &[&[(u64, u64)]]) {
        let mut events = OwnEvents::default();
        own.iter().for_each(|(first, last)| events.add(Position(*first), Position(*last)));
        for ((after, head), expected) in asked.iter().zip(expected) {
            let others = events.others(Position(*after), Position(*head));
            let others: Vec<(u64, u64)> = others.into_iter().map(|(a, b)| (a.0, b.0)).collect();
            assert_eq!(others, *expected, "after {after} up to {head}");
        }
    }

    #[test]
    fn what_is_not_ours_is_between() {
        check(&[(1, 3), (4, 6)], &[(0, 6)], &[&[]]);
        check(&[(3, 4), (7, 8)], &[(0, 10)], &[&[(0, 2), (4, 6), (8, 10)]]);
        check(&[], &[(5, 9)], &[&[(5, 9)]]);
    }

    #[test]
    fn a_run_may_be_asked_about_in_pieces() {
        check(&[(1, 10)], &[(0, 4), (4, 12)], &[&[], &[(10, 12)]]);
        check(&[(5, 6)], &[(0, 2), (2, 6)], &[&[(0, 2)], &[(2, 4)]]);
    }
}
