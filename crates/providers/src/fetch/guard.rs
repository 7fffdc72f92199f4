//! What may be reached.
//!
//! Two checks that do not stand in for each other. [`Guard::check`] looks at the address of every request, redirects
//! included: a client connects to literal addresses without asking anyone. [`Names`] looks at what names resolve to
//! and hands out exactly what it has checked, so that a name cannot lead elsewhere a moment later.

mod names;
mod public;

use url::{Host, Url};

use quillwork_app::address::{LONGEST, canonical};

use crate::fetch::config::FetchConfigError;

pub use names::{Lookup, system_lookup};
pub(super) use names::{Names, NotPublic};
use public::is_public;

/// So much of an address that cannot be read is repeated.
const SHOWN: usize = 200;

/// How far a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To public addresses.
    Public,
    /// To wherever the operator's own host is.
    Allowed,
}

#[derive(Debug)]
pub(super) struct Guard {
    /// Hosts with their ports that may be private.
    allowed: Vec<(String, u16)>,
    extra_ports: Vec<u16>,
}

impl Guard {
    /// # Errors
    /// Names the host that is none.
    pub(super) fn new(allowed: &[String], extra_ports: &[u16]) -> Result<Self, FetchConfigError> {
        let allowed = allowed
            .iter()
            .map(|host| host_and_port(host).ok_or_else(|| FetchConfigError::PrivateHost(host.clone())))
            .collect::<Result<_, _>>()?;
        Ok(Self { allowed, extra_ports: extra_ports.to_vec() })
    }

    /// Reads the address of a page.
    ///
    /// # Errors
    /// Why it is none, or may not be reached.
    pub(super) fn parse(&self, url: &str) -> Result<Url, String> {
        let mut parsed =
            Url::parse(url).map_err(|error| format!("`{}` is no address: {error}", shown(url)))?;
        parsed.set_fragment(None);
        self.check(&parsed)?;
        Ok(parsed)
    }

    /// # Errors
    /// Why the address may not be reached. Says nothing that is not in the address.
    pub(super) fn check(&self, url: &Url) -> Result<Reach, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{}` is no page: only http and https are read", shown(url.as_str())));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(format!("`{}` names no host", shown(url.as_str())));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("an address on {host} carries credentials; give it without them"));
        }
        if canonical(url.as_str()).is_none() {
            return Err(format!("an address on {host} is malformed or longer than {LONGEST} bytes"));
        }
        let name = name(&host);
        if self.allowed.iter().any(|(allowed, at)| *allowed == name && *at == port) {
            return Ok(Reach::Allowed);
        }
        let public = match host {
            Host::Domain(_) => name != "localhost" && !name.ends_with(".localhost"),
            Host::Ipv4(ip) => is_public(ip.into()),
            Host::Ipv6(ip) => is_public(ip.into()),
        };
        if !public {
            return Err(not_public(url));
        }
        if !matches!(port, 80 | 443) && !self.extra_ports.contains(&port) {
            return Err(format!("{url} is on port {port}; add it to `fetch.ports` to read it"));
        }
        Ok(Reach::Public)
    }
}

/// Why a host is not asked. Does not tell what its name resolves to.
pub(super) fn not_public(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    format!(
        "{url} is not on a public address; add `{host}:{port}` to `fetch.allow_private_hosts` if it should be read"
    )
}

/// A host as it is compared: literal addresses are in their one form already.
fn name(host: &Host<&str>) -> String {
    let name = host.to_string();
    name.strip_suffix('.').map_or_else(|| name.clone(), str::to_owned)
}

/// Reads `host:port` as it would stand in an address.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (_, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let url = Url::parse(&format!("http://{text}/")).ok()?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none();
    (plain && !text.contains('*') && url.port_or_known_default() == Some(port))
        .then_some((name(&url.host()?), port))
}

/// The beginning of an address, without credentials.
fn shown(url: &str) -> String {
    let start: String = url.chars().take(SHOWN).collect();
    match start.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let allowed =
            ["127.0.0.1:18090", "localhost:8080", "[::1]:18090", "Wiki.Intranet:80"].map(str::to_owned);
        Guard::new(&allowed, &[8443]).unwrap()
    }

    #[test]
    fn public_addresses_may_be_reached() {
        for url in [
            "http://example.com",
            "https://example.com:443/a?b#c",
            "http://example.com:443/",
            "https://example.com:8443/",
            "http://8.8.8.8/",
            "http://134744072/",
            "http://[2606:4700:4700::1111]/",
            "http://BÜCHER.example/",
            "http://localhost.example.com/",
        ] {
            let parsed = guard().parse(url).unwrap();
            assert_eq!(guard().check(&parsed), Ok(Reach::Public), "{url}");
        }
    }

    #[test]
    fn what_the_operator_allows_may_be_reached() {
        for url in [
            "http://127.0.0.1:18090/a",
            "https://127.0.0.1:18090/",
            "http://2130706433:18090/",
            "http://localhost:8080/",
            "http://LOCALHOST.:8080/",
            "http://[::1]:18090/",
            "http://wiki.intranet/",
            "https://wiki.intranet.:80/",
        ] {
            assert_eq!(guard().check(&Url::parse(url).unwrap()), Ok(Reach::Allowed), "{url}");
        }
    }

    #[test]
    fn private_addresses_are_refused_in_every_notation() {
        for host in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0x7F.0x0.0.1",
            "017700000001",
            "0177.0.0.1",
            "0177.1",
            "%31%32%37.0.0.1",
            "127%2e0%2e0%2e1",
            "１２７.０.０.１",
            "127。0。0。1",
            "①②⑦.0.0.1",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "ｌocalhost",
            "loc%61lhost",
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "012.0.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "2852039166",
            "0xA9FEA9FE",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:10.0.0.1]",
            "[0:0:0:0:0:ffff:a9fe:a9fe]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::169.254.169.254]",
            "[64:ff9b:1::a00:1]",
            "[2002:7f00:1::]",
            "[2002:a9fe:a9fe::1]",
            "[2001::1]",
            "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
            "[2001:db8::1]",
            "[3fff::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[100::1]",
            "[5f00::1]",
        ] {
            let url = format!("http://{host}/");
            let reason = guard().parse(&url).unwrap_err();
            assert!(reason.contains("not on a public address"), "{host}: {reason}");
        }
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for (url, reason) in [
            ("", "no address"),
            ("example.com", "no address"),
            ("http://", "no address"),
            ("http://[fe80::1%25eth0]/", "no address"),
            ("http://[fe80::1%eth0]/", "no address"),
            ("http://127.0.0.1.5/", "no address"),
            ("http://256.0.0.1/", "no address"),
            ("http://0x7f000001ff/", "no address"),
            ("http://example.com%00.evil/", "no address"),
            ("http://a b/", "no address"),
            ("ftp://example.com/", "only http and https"),
            ("file:///etc/passwd", "only http and https"),
            ("gopher://127.0.0.1:70/", "only http and https"),
            ("javascript:alert(1)", "only http and https"),
            ("http://user@example.com/", "carries credentials"),
            ("http://:secret@example.com/", "carries credentials"),
            ("http://127.0.0.1:18090@example.com/", "carries credentials"),
            ("http://example.com@127.0.0.1:18090/", "carries credentials"),
            ("http://example.com../", "malformed"),
            ("http://example.com:22/", "port 22; add it to `fetch.ports`"),
            ("http://8.8.8.8:6379/", "port 6379"),
            ("http://127.0.0.1:18091/", "not on a public address"),
            ("http://wiki.intranet:8080/", "port 8080"),
            ("http://[::ffff:127.0.0.1]:18090/", "not on a public address"),
        ] {
            let refused = guard().parse(url).unwrap_err();
            assert!(refused.contains(reason) && !refused.contains("secret"), "{url}: {refused}");
        }
        assert!(guard().parse(&format!("http://example.com/{}", "a".repeat(LONGEST))).is_err());
    }

    #[test]
    fn an_address_that_cannot_be_read_is_repeated_without_credentials() {
        for url in ["http://user:secret@[x]/", "http://user:sec@ret:secret@a b/"] {
            let reason = guard().parse(url).unwrap_err();
            assert!(!reason.contains("secret") && !reason.contains("user"), "{reason}");
        }
    }

    #[test]
    fn only_hosts_with_ports_can_be_allowed() {
        for host in [
            "",
            "localhost",
            "localhost:",
            "[::1]",
            "::1",
            "http://localhost:80",
            "a:b@c:80",
            "localhost:80/x",
            "*:80",
            "a:70000",
            "10.0.0.0/8:80",
        ] {
            let refused = Guard::new(&[host.to_owned()], &[]);
            assert!(matches!(refused, Err(FetchConfigError::PrivateHost(_))), "{host}");
        }
    }
}
