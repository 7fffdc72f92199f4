//! Handlers that are a service of the user.

use quillwork_domain::plan::is_name;
use quillwork_providers::remote::Endpoint;
use quillwork_worker::stages::BUILT_IN;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::Span;
use crate::config::secret::{Key, shown};

/// Shorter secrets can be found by trying.
const MIN_SECRET_BYTES: usize = 16;

/// The service that does the stages of a handler. Its members may stand in different layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpStageSettings {
    /// Where each attempt is posted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) url: Option<String>,
    /// What requests are signed with; the service knows it, too. At least 16 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    #[schemars(with = "String", length(min = 16))]
    pub(crate) secret: Option<Key>,
    /// How long a call may take; absent for as long as its stage may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Span")]
    pub(crate) timeout: Option<Span>,
}

impl HttpStageSettings {
    /// The service of `handler`; an error names the member and says what is accepted.
    pub(crate) fn endpoint(&self, handler: &str) -> Result<Endpoint, (&'static str, String)> {
        if BUILT_IN.contains(&handler) {
            return Err((
                "url",
                format!("the handler {handler:?} is built in: give the service another name"),
            ));
        }
        if !is_name(handler) {
            let reason = format!(
                "the handler {handler:?} has no name: up to 64 of the characters a-z, 0-9, - and _ are accepted"
            );
            return Err(("url", reason));
        }
        let url = self.url.as_deref().ok_or_else(|| {
            ("url", "expected the address of the service, such as https://summarise.internal/run".to_owned())
        })?;
        let variable = format!("QUILLWORK_STAGES__{}__HTTP__SECRET", handler.to_uppercase());
        let secret = self.secret.clone().map(|key| key.0).ok_or_else(|| {
            (
                "secret",
                format!(
                    "expected what requests are signed with; the environment variable {variable} can hold it"
                ),
            )
        })?;
        if secret.n_bytes() < MIN_SECRET_BYTES {
            return Err((
                "secret",
                format!(
                    "expected at least {MIN_SECRET_BYTES} bytes; `openssl rand -hex 32` makes a good one"
                ),
            ));
        }
        let timeout = self.timeout.map(|timeout| timeout.0);
        Ok(Endpoint { url: address(url).map_err(|reason| ("url", reason))?, secret, timeout })
    }
}

/// What is wrong is not repeated: it may hold a password.
fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or("expected an address that begins with http:// or https://")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "a user or password in the address is not used: the service knows us by the signature".into()
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(handler: &str, json: &str) -> String {
        let settings: HttpStageSettings = serde_json::from_str(json).unwrap();
        let (member, reason) = settings.endpoint(handler).unwrap_err();
        format!("{member}: {reason}")
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        const SECRET: &str = r#""secret":"sixteen-bytes-and-more""#;
        let with = |url: &str| format!(r#"{{"url":"{url}",{SECRET}}}"#);
        for (handler, json, expected) in [
            ("echo", with("http://h"), "url: the handler \"echo\" is built in"),
            ("Own", with("http://h"), "url: the handler \"Own\" has no name"),
            ("own", format!("{{{SECRET}}}"), "url: expected the address"),
            ("own", r#"{"url":"http://h"}"#.to_owned(), "QUILLWORK_STAGES__OWN__HTTP__SECRET"),
            ("own", r#"{"url":"http://h","secret":"short"}"#.to_owned(), "secret: expected at least 16"),
            ("own", with("ftp://h"), "url: expected an address that begins with http"),
            ("own", with("h:1/run"), "url: expected an address that begins with http"),
            ("own", with("http://me:hidden@h"), "url: a user or password"),
        ] {
            let error = wrong(handler, &json);
            assert!(error.contains(expected), "{error}\nlacks {expected}");
            assert!(!error.contains("short") && !error.contains("hidden"), "{error}");
        }
    }
}
