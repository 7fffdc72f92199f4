//! What kind of text an answer is, as its server says. The content is not asked: it may claim anything.

use encoding_rs::Encoding;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use url::Url;

use crate::corpus::origin::Format;

/// So much of a type that is not read is repeated.
const SHOWN: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct MediaType {
    pub(super) format: Format,
    pub(super) charset: Option<&'static Encoding>,
}

/// # Errors
/// Why the page is left out.
pub(super) fn readable(headers: &HeaderMap, url: &Url) -> Result<MediaType, String> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Err(format!("{url} does not say what it is: it has no content type"));
    };
    let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let format = match parts.next().unwrap_or_default() {
        "text/html" | "application/xhtml+xml" => Format::Html,
        "text/plain" => Format::Plain,
        "text/markdown" | "text/x-markdown" => Format::Markdown,
        other => {
            let shown: String = other.chars().take(SHOWN).filter(|c| !c.is_control()).collect();
            return Err(format!("{url} is `{shown}`; only HTML, plain text and Markdown are read"));
        }
    };
    let charset = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim() == "charset")
        .and_then(|(_, label)| Encoding::for_label(label.trim().trim_matches(['"', '\'']).as_bytes()));
    Ok(MediaType { format, charset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &[u8]) -> Result<MediaType, String> {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, reqwest::header::HeaderValue::from_bytes(value).unwrap())]);
        readable(&headers, &Url::parse("http://example.com/a").unwrap())
    }

    #[test]
    fn text_is_read() {
        for (value, format, charset) in [
            ("text/html", Format::Html, None),
            ("TEXT/HTML; Charset=UTF-8", Format::Html, Some(encoding_rs::UTF_8)),
            ("text/html;charset=\"windows-1252\"", Format::Html, Some(encoding_rs::WINDOWS_1252)),
            ("text/html; a=b; charset = latin1", Format::Html, Some(encoding_rs::WINDOWS_1252)),
            ("text/html; charset=nonsense", Format::Html, None),
            ("application/xhtml+xml", Format::Html, None),
            ("text/plain; charset=utf-16le", Format::Plain, Some(encoding_rs::UTF_16LE)),
            ("text/markdown; variant=GFM", Format::Markdown, None),
        ] {
            assert_eq!(read(value.as_bytes()), Ok(MediaType { format, charset }), "{value}");
        }
    }

    #[test]
    fn nothing_else_is() {
        for value in [
            "",
            ";",
            "text",
            "text/html/x",
            "image/png",
            "application/pdf",
            "application/octet-stream",
            "text/css",
            "application/json",
            "multipart/mixed; boundary=a",
        ] {
            let reason = read(value.as_bytes()).unwrap_err();
            assert!(reason.contains("only HTML"), "{value}: {reason}");
        }
        assert!(read(b"text/h\xfftml").is_err());
        assert!(read(&[b'a'; 5_000]).unwrap_err().len() < 300);
        assert!(readable(&HeaderMap::new(), &Url::parse("http://example.com/").unwrap()).is_err());
    }
}
