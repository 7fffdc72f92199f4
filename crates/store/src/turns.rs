//! How tenants share what one claim may take.

use quillwork_app::ports::store::Task;

/// The due tasks of one tenant, first things first, as far as they were asked for.
pub(crate) struct Line {
    pub(crate) tasks: Vec<Task>,
    /// How many were asked for: if that many came, there may be more.
    pub(crate) asked: usize,
}

impl Line {
    fn may_have_more(&self) -> bool {
        self.tasks.len() >= self.asked
    }
}

/// An equal part of `limit` for each of `n_tenants`, rounded up.
pub(crate) fn share(limit: usize, n_tenants: usize) -> usize {
    limit.div_ceil(n_tenants.max(1))
}

/// How many tasks to ask the lines for that may have more, because others had fewer than their share. `None`: `limit` is
/// reached, or there is nothing else.
pub(crate) fn next_share(lines: &[Line], limit: usize) -> Option<usize> {
    let n_found: usize = lines.iter().map(|line| line.tasks.len()).sum();
    let more = || lines.iter().filter(|line| line.may_have_more());
    let longest = more().map(|line| line.asked).max()?;
    (n_found < limit).then(|| longest.saturating_add(share(limit - n_found, more().count())))
}

/// The lines that [`next_share`] is about.
pub(crate) fn unfinished(lines: &mut [Line]) -> impl Iterator<Item = (usize, &mut Line)> {
    lines.iter_mut().enumerate().filter(|(_, line)| line.may_have_more())
}

/// The first of each line, then the second of each, and so on, up to `limit`.
pub(crate) fn take_turns(lines: Vec<Line>, limit: usize) -> Vec<Task> {
    let mut lines: Vec<_> = lines.into_iter().map(|line| line.tasks.into_iter()).collect();
    let mut taken = Vec::new();
    while !lines.is_empty() {
        lines.retain_mut(|line| match line.next() {
            Some(task) if taken.len() < limit => {
                taken.push(task);
                true
            }
            Some(_) | None => false,
        });
    }
    taken
}

#[cfg(test)]
mod tests {
    use quillwork_app::ports::store::TaskKey;
    use quillwork_domain::id::JobId;
    use quillwork_domain::plan::StageIndex;
    use quillwork_domain::time::Timestamp;
    use uuid::Uuid;

    use super::*;

    /// As many tasks of one tenant.
    fn tasks(tenant: &str, n: u128) -> Vec<Task> {
        let task = |id| Task {
            key: TaskKey { job: JobId(Uuid::from_u128(id)), stage: StageIndex(0) },
            handler: "echo".into(),
            tenant: tenant.into(),
            priority: 0,
            run_at: Timestamp::default(),
        };
        (1..=n).map(task).collect()
    }

    /// What the tenants get, asked as an adapter asks, and how many tasks it read for that.
    fn taken(tenants: &[(&str, u128)], limit: usize) -> (String, usize) {
        let first = share(limit, tenants.len());
        let mut n_read = 0;
        let mut ask = |(tenant, n): (&str, u128), asked: usize| {
            let mut tasks = tasks(tenant, n);
            tasks.truncate(asked);
            n_read += tasks.len();
            Line { tasks, asked }
        };
        let mut lines: Vec<Line> = tenants.iter().map(|tenant| ask(*tenant, first)).collect();
        while let Some(asked) = next_share(&lines, limit) {
            for (index, line) in unfinished(&mut lines) {
                *line = ask(tenants[index], asked);
            }
        }
        let taken = take_turns(lines, limit);
        (taken.iter().map(|task| &*task.tenant).collect(), n_read)
    }

    #[test]
    fn everyone_in_turn() {
        assert_eq!(taken(&[("a", 9), ("b", 9), ("c", 9)], 6), ("abcabc".into(), 6));
        assert_eq!(taken(&[("a", 9), ("b", 9), ("c", 9)], 4), ("abca".into(), 6));
    }

    #[test]
    fn what_one_lacks_the_others_get() {
        assert_eq!(taken(&[("a", 1), ("b", 9), ("c", 2)], 9).0, "abcbcbbbb");
        assert_eq!(taken(&[("a", 1), ("b", 1)], 9).0, "ab");
        assert_eq!(taken(&[], 9).0, "");
        assert_eq!(taken(&[("a", 3)], usize::MAX).0, "aaa");
    }

    #[test]
    fn a_long_line_is_not_read_to_its_end() {
        let (taken, n_read) = taken(&[("a", 100_000), ("b", 1), ("c", 1)], 30);
        assert_eq!(taken, format!("abc{}", "a".repeat(27)));
        assert!(n_read < 90, "{n_read}");
    }
}
