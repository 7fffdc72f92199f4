//! `api`, `worker`, `projector`: roles of their own need a store that several processes can share.

use crate::exit::Usage;

/// Says why the role cannot run, and what to run instead.
pub(crate) fn refuse(role: &str) -> anyhow::Result<u8> {
    Err(Usage(format!(
        "`quillwork {role}` needs a store that several processes can share, and SQLite belongs to one process; use `quillwork up`, which runs the API, the workers and the projections in one process"
    ))
    .into())
}
