//! Whether to lock the log before a batch is planned, while other processes are about.

/// Own commits in a row, after which others are presumed to be quiet.
const QUIET: u32 = 16;

/// Locking costs two round trips more for each batch, and a batch that was planned without a lock is planned anew if
/// somebody else was faster. So a process locks while others write, and compares the head while they only look on.
#[derive(Debug, Default)]
pub(crate) struct Contention {
    n_undisturbed: u32,
}

impl Contention {
    /// This process committed, and nobody else had since it committed last.
    pub(crate) fn committed(&mut self) {
        self.n_undisturbed = self.n_undisturbed.saturating_add(1);
    }

    /// Another process has committed.
    pub(crate) fn disturbed(&mut self) {
        self.n_undisturbed = 0;
    }

    /// True if another process may well commit before this one does.
    pub(crate) fn is_likely(&self) -> bool {
        self.n_undisturbed < QUIET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_quiet_after_many_own_commits_in_a_row() {
        let mut contention = Contention::default();
        for _ in 0..QUIET {
            assert!(contention.is_likely());
            contention.committed();
        }
        assert!(!contention.is_likely());
        contention.disturbed();
        assert!(contention.is_likely());
    }
}
