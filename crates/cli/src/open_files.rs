//! The limit on open files. Shells often set it lower than what they allow.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are not connections: databases, indexes, the listening socket.
const BESIDES: u64 = 256;

/// Raises the limit as far as allowed, and says so if that is too little for this many connections.
pub(crate) fn allow(connections: u64) {
    let limit = getrlimit(Resource::Nofile);
    // Without a maximum there is nothing to raise to.
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let needed = connections + BESIDES;
    if let Some(current) = current.filter(|current| *current < needed) {
        tracing::warn!(
            limit = current,
            needed,
            "the limit on open files is too low for limits.connections; raise it (ulimit -n, LimitNOFILE)"
        );
    }
}
