//! Where the servers' programs are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const INSTALL: &str = "apt-get install -y postgresql redis-server pgbouncer";

/// The oldest PostgreSQL that the tests speak to.
const OLDEST_POSTGRES: u32 = 14;

/// A program of PATH, or of the directory where Debian has its daemons.
pub(crate) fn find(program: &str) -> PathBuf {
    let found = path().map(|place| place.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{program} is not installed; run: {INSTALL}"))
}

/// A program of the one PostgreSQL installation that all tests use.
pub(crate) fn find_postgres(program: &str) -> PathBuf {
    static PLACE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let place = PLACE.get_or_init(|| {
        path().chain(debian_versions()).find(|place| {
            ["initdb", "postgres"].into_iter().all(|program| place.join(program).is_file())
                && version(place).is_some_and(|version| version >= OLDEST_POSTGRES)
        })
    });
    let place = place.as_ref().unwrap_or_else(|| {
        panic!("no initdb and postgres of version {OLDEST_POSTGRES} or newer are installed; run: {INSTALL}")
    });
    place.join(program)
}

/// A client program such as `psql`, of any version; of the newest installation's own if there is one, because Debian's
/// in PATH is a slow wrapper.
pub(crate) fn find_client(program: &str) -> PathBuf {
    let found = debian_versions().chain(path()).map(|place| place.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{program} is not installed; run: {INSTALL}"))
}

fn path() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
    places.into_iter()
}

/// Newest first.
fn debian_versions() -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable_by(|left, right| right.cmp(left));
    versions.into_iter().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
}

/// The major version, of `postgres (PostgreSQL) 15.4 (Debian …)`.
fn version(place: &Path) -> Option<u32> {
    let output = Command::new(place.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text.split_whitespace().nth(2)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
