//! Whose processes the servers are.

use std::process::Command;
use std::sync::OnceLock;

/// A user that is not root.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// PostgreSQL and PgBouncer refuse to run as root. `None`: we are not root and stay who we are.
pub(crate) fn of_servers() -> Option<Account> {
    static ACCOUNT: OnceLock<Option<Account>> = OnceLock::new();
    *ACCOUNT.get_or_init(|| {
        if id(&["-u"]) != Some(0) {
            return None;
        }
        let account = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| Some(Account { uid: id(&["-u", name])?, gid: id(&["-g", name])? }));
        Some(account.expect("root needs a user postgres or nobody to run servers as"))
    })
}

fn id(args: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(args).output().expect("cannot run id");
    str::from_utf8(&output.stdout).ok()?.trim().parse().ok()
}
