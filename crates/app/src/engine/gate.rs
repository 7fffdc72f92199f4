//! Who has begun goes before who comes: how many commands of clients a batch takes.

/// What a batch with reports of workers takes, on average. If all comers were let in, they would pile up in the queue, and
/// each would cost what a short queue spares.
const COMMANDS_BESIDE_REPORTS: usize = 128;

/// Commands come in requests that stay whole, so a batch may take more than its share; those after it take less.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Commands that were let in beyond the share of the batches so far.
    ahead: usize,
}

impl Gate {
    /// True if a batch with so many commands and reports may take one more request.
    pub(super) fn is_open(&self, n_commands: usize, n_reports: usize, max_batch: usize) -> bool {
        let share =
            if n_reports == 0 { max_batch } else { COMMANDS_BESIDE_REPORTS.saturating_sub(self.ahead) };
        n_commands < share.min(max_batch)
    }

    /// A batch with so many commands is done.
    pub(super) fn passed(&mut self, n_commands: usize, max_batch: usize) {
        self.ahead = (self.ahead + n_commands).saturating_sub(COMMANDS_BESIDE_REPORTS).min(max_batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands that batches take of requests with so many each, of which there are always more.
    fn taken(per_request: usize, n_reports: &[usize], max_batch: usize) -> Vec<usize> {
        let mut gate = Gate::default();
        let batch = |n_reports: &usize| {
            let mut n_commands = 0;
            while gate.is_open(n_commands, *n_reports, max_batch) {
                n_commands += per_request;
            }
            gate.passed(n_commands, max_batch);
            n_commands
        };
        n_reports.iter().map(batch).collect()
    }

    #[test]
    fn a_batch_without_reports_is_filled() {
        assert_eq!(taken(1, &[0, 0], 1_024), [1_024, 1_024]);
        assert_eq!(taken(100, &[0, 0], 1_024), [1_100, 1_100]);
    }

    #[test]
    fn beside_reports_each_batch_has_its_share() {
        assert_eq!(taken(1, &[1, 500, 9], 1_024), [128, 128, 128]);
        assert_eq!(taken(1, &[1, 1], 10), [10, 10]);
    }

    #[test]
    fn who_took_more_takes_less_the_next_time() {
        let taken = taken(100, &[1; 64], 1_024);
        assert_eq!(taken[..4], [200, 100, 100, 200]);
        assert!(taken.iter().sum::<usize>().abs_diff(64 * 128) <= 100, "{taken:?}");
    }

    #[test]
    fn one_full_batch_keeps_the_gate_closed_for_a_while_and_not_for_ever() {
        let mut reports = vec![1; 12];
        reports[0] = 0;
        assert_eq!(taken(1, &reports, 1_024), [1_024, 0, 0, 0, 0, 0, 0, 0, 128, 128, 128, 128]);
        // However large a request was.
        assert_eq!(
            taken(100_000, &[0, 1, 1, 1, 1, 1, 1, 1, 1, 1], 1_024)[1..],
            [0, 0, 0, 0, 0, 0, 0, 0, 100_000]
        );
    }
}
