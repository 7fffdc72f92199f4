//! How pages of the web are read.

use quillwork_providers::fetch::FetchConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Span;
use crate::config::settings::positive;

/// How this process reads pages. Addresses that are not public are refused unless they are listed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FetchSettings {
    /// Where owners of sites reach you: an address or a URL. Sent with every request; Wikipedia wants one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contact: Option<String>,
    /// Hosts that may have private addresses, as exact `host:port`.
    pub(crate) allow_private_hosts: Vec<String>,
    /// Ports that may be asked besides 80 and 443.
    pub(crate) ports: Vec<u16>,
    /// The largest page, in bytes, unpacked.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) max_bytes: u32,
    /// For one page with its redirects.
    pub(crate) timeout: Span,
    /// Pages that are read at once in this process.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) concurrency: u32,
    /// Of them, pages of one host.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) per_host: u32,
    /// Between two requests to one host, where its robots.txt does not ask for more.
    pub(crate) delay: Span,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            contact: None,
            allow_private_hosts: vec![],
            ports: vec![],
            max_bytes: 5_000_000,
            timeout: Span::millis(20_000),
            concurrency: 20,
            per_host: 2,
            delay: Span::millis(500),
        }
    }
}

impl FetchSettings {
    /// As the fetcher takes them.
    pub(crate) fn config(&self) -> FetchConfig {
        FetchConfig {
            contact: self.contact.clone(),
            allow_private_hosts: self.allow_private_hosts.clone(),
            extra_ports: self.ports.clone(),
            max_bytes: self.max_bytes as usize,
            timeout: self.timeout.0,
            per_host: self.per_host as usize,
            delay: self.delay.0,
            ..FetchConfig::default()
        }
    }
}
