//! How the process ends.
//!
//! 0: done. 1: failed, or the answer is no. 2: the command line or the configuration is wrong. 3: the server cannot be
//! reached. 130: interrupted.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::output;

/// The job failed, or the audit found something: said already.
pub(crate) const FAILED: u8 = 1;

/// The command line or the configuration is wrong.
pub(crate) const USAGE: u8 = 2;

/// No server answers.
pub(crate) const UNREACHABLE: u8 = 3;

/// Ended by a signal.
pub(crate) const INTERRUPTED: u8 = 130;

/// What was asked for cannot be asked for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// No server answers.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot reach a server at {server}: {reason}; start one with `quillwork up`, or name another with --server or QUILLWORK_SERVER"
)]
pub(crate) struct Unreachable {
    pub(crate) server: String,
    pub(crate) reason: String,
}

/// Prints the error, if there is one, and chooses the exit code.
pub(crate) fn code(outcome: anyhow::Result<u8>) -> ExitCode {
    match outcome {
        Ok(code) => code.into(),
        // Whoever reads our output has seen enough, as in `quillwork job list | head`.
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            if error.is::<Usage>() || error.is::<ConfigError>() {
                USAGE.into()
            } else if error.is::<Unreachable>() {
                UNREACHABLE.into()
            } else {
                FAILED.into()
            }
        }
    }
}
