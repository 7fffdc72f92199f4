//! Where Redis is, as operators write it.

use std::fmt;
use std::str::FromStr;

use redis::{ConnectionInfo, IntoConnectionInfo as _};

/// `redis://[[user]:password@]host[:port][/database]`, or `rediss://…` for TLS.
///
/// Shows itself without the credentials, always.
#[derive(Clone)]
pub struct RedisUrl {
    text: String,
    /// Without the credentials.
    shown: String,
    info: ConnectionInfo,
}

/// Not the URL of a Redis. It may hold a password and is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected redis://[user:password@]host[:port][/database], or rediss:// for TLS, with special characters of the \
     password percent-encoded"
)]
pub struct NotARedisUrl;

impl RedisUrl {
    pub(super) fn info(&self) -> ConnectionInfo {
        self.info.clone()
    }

    pub(super) fn is_tls(&self) -> bool {
        self.text.starts_with("rediss://")
    }

    /// `message` without the password, should a server repeat what it was sent.
    pub(super) fn redact(&self, message: &str) -> String {
        match self.info.redis_settings().password() {
            Some(password) if !password.is_empty() => message.replace(password, "***"),
            Some(_) | None => message.to_owned(),
        }
    }
}

impl FromStr for RedisUrl {
    type Err = NotARedisUrl;

    fn from_str(text: &str) -> Result<Self, NotARedisUrl> {
        let url = redis::parse_redis_url(text).ok_or(NotARedisUrl)?;
        // A fragment would turn the check of certificates off.
        if !matches!(url.scheme(), "redis" | "rediss") || url.fragment().is_some() || url.query().is_some() {
            return Err(NotARedisUrl);
        }
        let info = url.clone().into_connection_info().map_err(|_| NotARedisUrl)?;
        let has_credentials = url.password().is_some() || !url.username().is_empty();
        let shown = format!(
            "{}://{}{}:{}/{}",
            url.scheme(),
            if has_credentials { "***@" } else { "" },
            url.host_str().unwrap_or_default(),
            url.port().unwrap_or(6379),
            info.redis_settings().db()
        );
        Ok(Self { text: text.to_owned(), shown, info })
    }
}

impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_itself_without_the_credentials() {
        let cases = [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("rediss://r.example:6380/3", "rediss://r.example:6380/3"),
            ("redis://:secret@10.0.0.1:7", "redis://***@10.0.0.1:7/0"),
            ("redis://secret:secret@[::1]:7/1", "redis://***@[::1]:7/1"),
            ("redis://secret@h", "redis://***@h:6379/0"),
        ];
        for (text, shown) in cases {
            let url: RedisUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), format!("{url:?}").as_str()), (shown, shown));
        }
    }

    #[test]
    fn what_it_cannot_read_is_not_repeated() {
        let wrong = [
            "",
            "localhost:6379",
            "http://localhost",
            "unix:///run/redis.sock",
            "redis://",
            "redis://h/database",
            "redis://h:port",
            "redis://:sec/ret@h",
            "rediss://h/#insecure",
            "redis://h/?protocol=resp3",
        ];
        for text in wrong {
            assert_eq!(text.parse::<RedisUrl>(), Err(NotARedisUrl), "{text}");
        }
    }

    #[test]
    fn a_server_that_repeats_the_password_is_cut_short() {
        let url: RedisUrl = "redis://:s%40cret@h".parse().unwrap();
        assert_eq!(url.redact("unknown command AUTH s@cret"), "unknown command AUTH ***");
    }
}
