//! The end of a server whose test process may die at any instruction.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, which comes when the test process ends, then ends the server and removes its directory.
///
/// The renaming comes first: a server that is just being started either has written its pid into the directory, or no
/// longer finds the directory and does not start. A pid may by now belong to another process, which is spared because it
/// does not work in the directory. Signals of the terminal are for the test.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
while read -r _; do :; done
gone="$1.gone"
mv "$1" "$gone" || exit 0
pid=$(cat "$gone/pid")
ours() {
    case "$(readlink "/proc/$pid/cwd")" in
        "$gone" | "$gone"/*) true ;;
        *) false ;;
    esac
}
signal=$2
tries=0
while [ -n "$pid" ] && ours; do
    kill -s "$signal" "$pid"
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || signal=KILL
    sleep 0.05
done
tries=0
while ! rm -rf "$gone" && [ "$tries" -lt 200 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
"#;

/// A shell that outlives this process by a moment.
pub(crate) struct Guardian {
    shell: Child,
}

impl Guardian {
    /// Guards the server of `directory`, whose pid is in the file `pid` there and which ends on `signal`.
    pub(crate) fn watch(directory: &Path, signal: &str) -> Self {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "quillwork-test-guardian"])
            .arg(directory)
            .arg(signal)
            .current_dir("/")
            // Nobody but us holds the other end: the standard library closes it in every other child.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not in the group that a terminal or a test runner signals.
            .process_group(0)
            .spawn();
        Self { shell: shell.expect("cannot run sh") }
    }

    /// Ends the server now. Returns when it and its directory are gone.
    pub(crate) fn end(&mut self) {
        // Closes the input, then waits.
        let _ = self.shell.wait();
    }
}
