//! Keys and passwords.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// Shorter ones are placeholders for servers that want any key at all; hiding them would only garble messages.
const MIN_REDACTED_BYTES: usize = 6;

/// A text that is never shown: not in logs, errors or events.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// White space around it is dropped: it comes from files.
    pub fn new(text: &str) -> Self {
        Self(text.trim().into())
    }

    pub fn n_bytes(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the secret, should a peer repeat what it was sent.
    pub(crate) fn redact(&self, text: &str) -> String {
        if self.0.len() < MIN_REDACTED_BYTES { text.to_owned() } else { text.replace(&*self.0, "***") }
    }

    /// Tells secrets apart without giving them away.
    pub(crate) fn fingerprint(&self) -> String {
        Sha256::digest(self.0.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_shown() {
        let secret = Secret::new(" sk-1234567890\n");
        assert_eq!(secret.expose(), "sk-1234567890");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.redact("Incorrect key sk-1234567890."), "Incorrect key ***.");
        assert_eq!(Secret::new("none").redact("none"), "none");
        assert_ne!(secret.fingerprint(), Secret::new("sk-1234567891").fingerprint());
    }
}
