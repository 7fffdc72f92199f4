//! Clients of HTTP that can be made on every machine.

use std::error::Error as _;
use std::sync::Arc;

use reqwest::{Client, ClientBuilder};
use url::Url;

/// A client that speaks TLS where the machine has certificates to check it by, and plain HTTP everywhere.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client,
    no_tls: Option<NoTls>,
}

/// Why nothing behind `https://` can be asked from this machine.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "nobody can be trusted over https:// on this machine: {0}; install CA certificates (the package ca-certificates) or name a file of them in SSL_CERT_FILE, and start again"
)]
pub struct NoTls(Arc<str>);

impl HttpClient {
    /// The client that `builder` describes; it is asked again where TLS cannot be set up.
    ///
    /// # Errors
    /// If there is no such client, with or without TLS.
    pub fn new(builder: impl Fn() -> ClientBuilder) -> Result<Self, reqwest::Error> {
        let error = match builder().build() {
            Ok(client) => return Ok(Self { client, no_tls: None }),
            Err(error) => error,
        };
        // It trusts nobody, should it ever come to that.
        let client = builder().tls_certs_only([]).build()?;
        Ok(Self { client, no_tls: Some(NoTls(innermost(&error).into())) })
    }

    /// The client for requests to `url`.
    ///
    /// # Errors
    /// If that needs TLS and there is none.
    pub fn at(&self, url: &Url) -> Result<&Client, NoTls> {
        match &self.no_tls {
            Some(no_tls) if url.scheme() == "https" => Err(no_tls.clone()),
            Some(_) | None => Ok(&self.client),
        }
    }
}

/// The reason at the bottom: what stands above it says only that something failed.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut reason = error.source();
    while let Some(deeper) = reason.and_then(std::error::Error::source) {
        reason = Some(deeper);
    }
    reason.map_or_else(|| error.to_string(), ToString::to_string)
}
