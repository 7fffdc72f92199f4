//! Content negotiation.

use axum::http::{HeaderMap, header};

use crate::problem::{Kind, Problem};

/// The one of `offered` that the client likes best; the first of equals, and of all if the client does not say.
pub(crate) fn negotiate(headers: &HeaderMap, offered: &[&'static str]) -> Result<&'static str, Problem> {
    let accept: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let accept = accept.join(",");
    if accept.trim().is_empty() {
        return offered.first().copied().ok_or_else(|| not_acceptable(offered));
    }
    let mut best: Option<(&'static str, u32)> = None;
    for media_type in offered {
        let quality = quality(&accept, media_type);
        if quality > best.map_or(0, |(_, quality)| quality) {
            best = Some((media_type, quality));
        }
    }
    best.map(|(media_type, _)| media_type).ok_or_else(|| not_acceptable(offered))
}

fn not_acceptable(offered: &[&str]) -> Problem {
    Problem::new(
        Kind::NotAcceptable,
        format!("this is available as {}; see the Accept header", offered.join(", ")),
    )
}

/// How much `accept` likes `media_type`, in thousandths; its most specific matching range decides.
fn quality(accept: &str, media_type: &str) -> u32 {
    let kind = media_type.split('/').next().unwrap_or_default();
    let mut best = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specificity = match name.as_str() {
            "*/*" => 1,
            name if name.strip_suffix("/*") == Some(kind) => 2,
            name if name == media_type => 3,
            _ => continue,
        };
        let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let q = q.and_then(|q| q.parse::<f32>().ok()).filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0);
        if specificity > best.0 {
            // Between 0 and 1000.
            best = (specificity, (q * 1_000.0) as u32);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: [&str; 3] = ["text/markdown", "text/html", "application/json"];

    fn choose(accept: &str) -> Option<&'static str> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        negotiate(&headers, &OFFERED).ok()
    }

    #[test]
    fn the_client_chooses() {
        assert_eq!(negotiate(&HeaderMap::new(), &OFFERED).unwrap(), "text/markdown");
        assert_eq!(choose("*/*"), Some("text/markdown"));
        assert_eq!(choose("application/json"), Some("application/json"));
        assert_eq!(choose("text/html,application/xhtml+xml,*/*;q=0.8"), Some("text/html"));
        assert_eq!(choose("text/*;q=0.1, application/json;q=0.5"), Some("application/json"));
        assert_eq!(choose("text/markdown;q=0, */*"), Some("text/html"));
        assert_eq!(choose("image/png"), None);
        assert_eq!(choose("text/html;q=nonsense"), Some("text/html"));
    }
}
