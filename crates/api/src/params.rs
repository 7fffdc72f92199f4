//! Query parameters. An unknown or repeated one is refused by name, as an unknown field of a body is.

use axum::extract::Query;
use axum::http::Uri;

use crate::problem::Problem;

/// Positions and versions end here: databases count with signed numbers.
pub(crate) const MAX_POSITION: u64 = i64::MAX.unsigned_abs();

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of `uri`, which may have the parameters `known`.
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let Ok(Query(params)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(Problem::field("query", "cannot be read; expected name=value pairs, URL-encoded"));
        };
        for (n, (name, _)) in params.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::field(clip(name), format!("unknown parameter; known here: {known}")));
            }
            if params.iter().take(n).any(|(earlier, _)| earlier == name) {
                return Err(Problem::field(name.as_str(), "given more than once; give it once"));
            }
        }
        Ok(Self(params))
    }

    /// The parameter's text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The parameter, read by `parse`, whose error says what is accepted.
    pub(crate) fn get<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        self.text(name).map(|value| parse(value).map_err(|message| Problem::field(name, message))).transpose()
    }

    /// The parameter as a whole number within `range`.
    pub(crate) fn number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        self.get(name, |value| match value.parse() {
            Ok(n) if range.contains(&n) => Ok(n),
            Ok(_) | Err(_) => {
                let (from, to) = (range.start(), range.end());
                let bound =
                    if *to == MAX_POSITION { format!("from {from}") } else { format!("from {from} to {to}") };
                Err(format!("expected a whole number {bound}, got {:?}", clip(value)))
            }
        })
    }
}

/// Enough of a client's text to recognize it.
pub(crate) fn clip(text: &str) -> String {
    const MOST: usize = 64;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Params, Problem> {
        Params::read(&format!("/v1/jobs?{query}").parse().unwrap(), &["limit", "q"])
    }

    #[test]
    fn known_once_and_in_range() {
        let params = read("limit=5&q=a%20b").unwrap();
        assert_eq!(params.number("limit", 1..=10).unwrap(), Some(5));
        assert_eq!(params.text("q"), Some("a b"));
        assert_eq!(params.number("limit", 6..=10).unwrap_err().errors[0].field, "limit");
        assert_eq!(read("colour=red").unwrap_err().errors[0].field, "colour");
        assert_eq!(read("q=1&q=2").unwrap_err().errors[0].field, "q");
    }
}
