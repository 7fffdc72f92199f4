//! What a server says when it says no: RFC 9457 problem details.

use std::fmt;

use reqwest::StatusCode;
use serde::Deserialize;

/// A refusal, for people.
#[derive(Clone, Debug, Deserialize, thiserror::Error)]
pub(crate) struct Problem {
    #[serde(default)]
    status: u16,
    #[serde(default)]
    title: String,
    /// Names the field at fault, if there is one.
    #[serde(default)]
    detail: String,
    /// For whoever looks into the server's logs.
    #[serde(default)]
    correlation_id: Option<String>,
}

impl Problem {
    /// Reads the body of an answer; whatever it holds, there is something to say.
    pub(crate) fn read(status: StatusCode, body: &[u8]) -> Self {
        let problem = serde_json::from_slice::<Self>(body).unwrap_or_else(|_| {
            let text: String = String::from_utf8_lossy(body).trim().chars().take(200).collect();
            Self {
                status: 0,
                title: status.canonical_reason().unwrap_or_default().to_lowercase(),
                detail: text,
                correlation_id: None,
            }
        });
        Self { status: status.as_u16(), ..problem }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.detail.is_empty(), self.title.is_empty()) {
            (false, _) => f.write_str(&self.detail)?,
            (true, false) => f.write_str(&self.title)?,
            (true, true) => f.write_str("the server refused")?,
        }
        if self.status != 0 {
            write!(f, " (HTTP {}", self.status)?;
            if let Some(correlation_id) = self.correlation_id.as_ref().filter(|_| self.status >= 500) {
                write!(f, ", correlation id {correlation_id}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_server_says() {
        let body =
            br#"{"type":"x","title":"Invalid","status":422,"detail":"topic: expected text","errors":[]}"#;
        let problem = Problem::read(StatusCode::UNPROCESSABLE_ENTITY, body);
        assert_eq!(problem.to_string(), "topic: expected text (HTTP 422)");
    }

    #[test]
    fn has_something_to_say_about_anything() {
        let problem = Problem::read(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(problem.to_string(), "<html> (HTTP 502)");
        assert_eq!(Problem::read(StatusCode::NOT_FOUND, b"").to_string(), "not found (HTTP 404)");
    }
}
