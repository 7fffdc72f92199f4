//! What an operator may set.

use std::time::Duration;

/// How pages are fetched.
#[derive(Clone, Debug)]
pub struct FetchConfig {
    /// What we call ourselves, as `name/version`. Rules of robots.txt are looked up by the name.
    pub user_agent: String,
    /// Where owners of sites reach the operator: an address or a URL. Sent with every request.
    pub contact: Option<String>,
    /// Hosts that may have private addresses, as exact `host:port`, with any port.
    pub allow_private_hosts: Vec<String>,
    /// Ports that may be asked besides 80 and 443, on public addresses only.
    pub extra_ports: Vec<u16>,
    /// The largest page, unpacked.
    pub max_bytes: usize,
    pub connect_timeout: Duration,
    /// For one page with its redirects, without what is waited in between for the sake of the host.
    pub timeout: Duration,
    /// Requests to one host at the same time, at least 1.
    pub per_host: usize,
    /// Between the starts of two requests to one host, where its robots.txt does not ask for more.
    pub delay: Duration,
    /// What robots.txt may ask for at most.
    pub longest_delay: Duration,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            user_agent: concat!("quillwork/", env!("CARGO_PKG_VERSION")).to_owned(),
            contact: None,
            allow_private_hosts: Vec::new(),
            extra_ports: Vec::new(),
            max_bytes: 5_000_000,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            per_host: 2,
            delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(10),
        }
    }
}

/// What of a [`FetchConfig`] cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FetchConfigError {
    #[error("the user agent `{0}` with its contact is no header; use printable ASCII, starting with a name")]
    UserAgent(String),
    #[error(
        "allow_private_hosts: `{0}` is no host with its port; write it like `wiki.intranet:8080` or `[::1]:8080`"
    )]
    PrivateHost(String),
    #[error("cannot set up HTTP: {0}")]
    Client(#[source] reqwest::Error),
}

impl FetchConfig {
    /// The name by which robots.txt knows us.
    pub(super) fn product(&self) -> String {
        self.user_agent
            .chars()
            .take_while(|&c| c.is_ascii_alphabetic() || c == '-' || c == '_')
            .collect::<String>()
            .to_ascii_lowercase()
    }

    /// # Errors
    /// If it cannot be sent.
    pub(super) fn header(&self) -> Result<String, FetchConfigError> {
        let header = match &self.contact {
            Some(contact) => format!("{} (+{contact})", self.user_agent),
            None => self.user_agent.clone(),
        };
        if self.product().is_empty() || !header.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(FetchConfigError::UserAgent(header.chars().take(200).collect()));
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_itself() {
        let cases = [
            (
                "quillwork/0.1.0",
                Some("https://example.com/bot"),
                "quillwork",
                "quillwork/0.1.0 (+https://example.com/bot)",
            ),
            ("My-Bot", None, "my-bot", "My-Bot"),
            ("my_bot/2 extra", Some("a@example.com"), "my_bot", "my_bot/2 extra (+a@example.com)"),
        ];
        for (user_agent, contact, product, header) in cases {
            let config = FetchConfig {
                user_agent: user_agent.to_owned(),
                contact: contact.map(str::to_owned),
                ..FetchConfig::default()
            };
            assert_eq!((config.product().as_str(), config.header().unwrap().as_str()), (product, header));
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for (user_agent, contact) in
            [("", None), ("/1", None), ("bot\r\nx: y", None), ("bot", Some("é")), ("bot", Some("a\0"))]
        {
            let config = FetchConfig {
                user_agent: user_agent.to_owned(),
                contact: contact.map(str::to_owned),
                ..FetchConfig::default()
            };
            assert!(
                matches!(config.header(), Err(FetchConfigError::UserAgent(_))),
                "{user_agent:?} {contact:?}"
            );
        }
    }
}
