//! Writes plain text into Markdown so that it reads as itself.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

/// Whether Markdown shows the text unchanged.
#[expect(clippy::wildcard_enum_match_arm, reason = "everything but text is markup")]
pub fn reads_as_itself(text: &str) -> bool {
    let mut shown = String::new();
    for event in Parser::new(text) {
        match event {
            Event::Text(part) => shown.push_str(&part),
            Event::Start(Tag::Paragraph) | Event::End(TagEnd::Paragraph) => {}
            _ => return false,
        }
    }
    shown == text
}

/// The text, with backslashes where Markdown would take its signs for its own.
pub fn escape(text: &str) -> String {
    if reads_as_itself(text) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for (at, c) in text.char_indices() {
        // Some signs mean something at the start of a line only.
        if "\\`*_[]<&~".contains(c) || at == 0 && "#+->=".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_escaped_only_where_needed() {
        for plain in ["Use long_running_task (or 3 < 4) & wait [RFC2119].", "A * b", "He said \"no\"."] {
            assert_eq!(escape(plain), plain);
        }
        for marked in
            ["The <body> element", "__init__ runs", "Use `code` here", "An &amp; here", "# no heading"]
        {
            let escaped = escape(marked);
            assert_ne!(escaped, marked);
            let shown: String = Parser::new(&escaped)
                .filter_map(|event| if let Event::Text(text) = event { Some(text.to_string()) } else { None })
                .collect();
            assert_eq!(shown, marked);
        }
    }
}
