//! Positions and hashes: what every event must have, whatever it says.

use quillwork_domain::archive::Run;
use quillwork_domain::chain;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::Position;
use quillwork_domain::payload::Sha256Digest;

use crate::audit::finding::{Finding, Findings, Rule};
use crate::ports::store::Head;

/// Follows the chain from event to event.
///
/// After an event that does not fit, the next one may follow what was found or what was expected, so that one damaged
/// event makes findings of its own and none about its neighbours.
pub(super) struct Chain {
    /// None accepts any first link.
    previous: Option<[Sha256Digest; 2]>,
    expected: [Position; 2],
    pub(super) head: Head,
}

impl Chain {
    /// A chain that goes on after `position`, where the hash is `previous`; None takes the first link on trust.
    pub(super) fn after(position: Position, previous: Option<Sha256Digest>) -> Self {
        Self {
            previous: previous.map(|hash| [hash; 2]),
            expected: [position.next(); 2],
            head: Head { position, hash: previous.unwrap_or(chain::GENESIS) },
        }
    }

    /// Checks the next event.
    pub(super) fn follow(&mut self, recorded: &Recorded, findings: &mut Findings) {
        let found = recorded.position;
        if !self.expected.contains(&found) {
            let message = format!("expected event {}, found event {found}", self.expected[0]);
            findings.push(Finding::new(Rule::Position, message).at(found).of(recorded.stream));
        }
        self.expected = [Position(found.0.saturating_add(1)), Position(self.expected[0].0.saturating_add(1))];

        let [previous, other] = self.previous.unwrap_or([chain::GENESIS; 2]);
        let link = chain::link(&previous, recorded);
        let fits =
            link == recorded.hash || (other != previous && chain::link(&other, recorded) == recorded.hash);
        if self.previous.is_some() && !fits {
            let message = format!(
                "the event or the one before it was changed: its hash is {}, recomputed it is {link}",
                recorded.hash
            );
            findings.push(Finding::new(Rule::Hash, message).at(found).of(recorded.stream));
        }
        self.previous = Some([recorded.hash, link]);
        self.head = Head { position: found, hash: recorded.hash };
    }

    /// The position that comes next, if nothing is missing.
    pub(super) fn next(&self) -> Position {
        self.head.position.next()
    }

    /// Goes on behind a hole.
    pub(super) fn jump(&mut self, run: &Run, findings: &mut Findings) {
        if !self.expected.contains(&run.first) || run.last < run.first {
            let message = format!(
                "expected event {}, found a hole from {} to {}",
                self.expected[0], run.first, run.last
            );
            findings.push(Finding::new(Rule::Position, message).at(run.first));
        }
        // Nothing behind the hole is linked to what is before it.
        if self.previous.is_some_and(|[found, link]| run.before != found && run.before != link) {
            let message = format!(
                "the event before the hole was changed: its hash is {}, expected {}",
                self.head.hash, run.before
            );
            findings.push(Finding::new(Rule::Hash, message).at(run.first));
        }
        self.expected = [Position(run.last.0.saturating_add(1)); 2];
        self.previous = Some([run.hash; 2]);
        self.head = Head { position: run.last, hash: run.hash };
    }

    /// Goes on behind something that could not be read: most likely the next event. The next link is taken on trust.
    pub(super) fn skip(&mut self) {
        self.expected = [self.expected[0].next(), self.expected[0]];
        self.previous = None;
    }
}
