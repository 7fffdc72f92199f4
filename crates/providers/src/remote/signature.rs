//! How a service knows that a request is from us, and from now.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::secret::Secret;

/// Signs requests with the secret that the service shares.
pub(super) struct Signer(Hmac<Sha256>);

/// A secret that no signature can be made with.
#[derive(Debug, thiserror::Error)]
#[error("the secret cannot be used for HMAC-SHA256")]
pub struct InvalidSecret;

impl Signer {
    pub(super) fn new(secret: &Secret) -> Result<Self, InvalidSecret> {
        Hmac::new_from_slice(secret.expose().as_bytes()).map(Self).map_err(|_| InvalidSecret)
    }

    /// The value of the header: `t=<unix seconds>,v1=<hex of HMAC-SHA256 over "<t>.<body>">`.
    pub(super) fn header(&self, unix_seconds: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{unix_seconds}.").as_bytes());
        mac.update(body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={unix_seconds},v1={hex}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_documentation_says() {
        let signer = Signer::new(&Secret::new("a-secret-of-sixteen-or-more-bytes")).unwrap();
        let docs = include_str!("../../../../docs/own-stage.md");
        let header = signer.header(1_700_000_000, br#"{"topic":"tea"}"#);
        assert!(docs.contains(&format!("X-Quillwork-Signature: {header}\n")), "{header}");
    }
}
