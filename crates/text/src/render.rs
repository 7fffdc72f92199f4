//! Articles as HTML, fit to be shown whoever wrote them.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};

/// The Markdown as HTML. HTML in it shows as text, and links go nowhere but the web.
pub fn to_html(markdown: &str) -> String {
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES).map(tame);
    let mut rendered = String::with_capacity(markdown.len() * 2);
    html::push_html(&mut rendered, events);
    rendered
}

/// The text as HTML that shows it.
pub fn escaped(text: &str) -> String {
    let mut rendered = String::with_capacity(text.len());
    html::push_html(&mut rendered, std::iter::once(Event::Text(text.into())));
    rendered
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the Markdown parser's enum, of which two kinds matter")]
fn tame(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: safe(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: safe(dest_url), title, id })
        }
        other => other,
    }
}

fn safe(url: CowStr<'_>) -> CowStr<'_> {
    let lower = url.trim_start().to_ascii_lowercase();
    let web = ["http://", "https://", "mailto:", "#"].iter().any(|start| lower.starts_with(start));
    // Without a colon there is no scheme that could do harm.
    if web || !lower.contains(':') { url } else { CowStr::Borrowed("#") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_rendered_runs() {
        let html =
            to_html("# Hi\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) [y](https://e.org)\n");
        assert_eq!(
            html,
            "<h1>Hi</h1>\n&lt;script&gt;alert(1)&lt;/script&gt;\n<p><a href=\"#\">x</a> <a \
             href=\"https://e.org\">y</a></p>\n"
        );
        assert_eq!(escaped("a <b> & c"), "a &lt;b&gt; &amp; c");
    }
}
