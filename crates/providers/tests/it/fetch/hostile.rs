//! Pages that are made to cost time, memory or the stack.

use quillwork_app::ports::fetch::{Fetch as _, Fetched};

use crate::fetch::site::{Site, html};
use crate::fetch::{call, fetcher};

/// A part of what may be: tests are built without optimization.
const LARGEST: usize = 250_000;

/// `unit` again and again, as large as a page here.
fn filled(unit: &str) -> String {
    unit.repeat(LARGEST / unit.len())
}

/// What `unit` makes of the numbers, as large as a page here.
fn counted(unit: impl Fn(usize) -> String) -> String {
    let mut source = String::new();
    for n in 0.. {
        let part = unit(n);
        if source.len() + part.len() > LARGEST {
            break;
        }
        source.push_str(&part);
    }
    source
}

fn pages() -> Vec<(&'static str, String)> {
    let unclosed: String = (0..2_000).map(|n| format!("<b class={n}>")).collect();
    let heading = format!("<h1>{}</h1>", "word ".repeat(25_000));
    vec![
        ("deep blocks", filled("<div>")),
        ("deep blocks with text", filled("<div>word ")),
        ("deep formatting", counted(|n| format!("<b class={n}>"))),
        ("formatting in every paragraph", unclosed.clone() + &"<p>x".repeat(25_000)),
        ("deep lists", filled("<ul><li>")),
        ("deep tables", filled("<table><tr><td>")),
        ("misplaced in tables", filled("<table><div>")),
        ("misplaced in one table", format!("<table>{}", "<div>".repeat(45_000))),
        ("wrongly nested", filled("<a><b><i><p></a></b></i>")),
        ("wrongly nested fonts", counted(|n| format!("<font size={n}><p></font>"))),
        ("deep graphics", filled("<svg><g><desc>")),
        ("deep templates", filled("<template>")),
        ("deep selects", filled("<select><option>")),
        ("nothing but ends", filled("</p></b>")),
        ("open tags", filled("<")),
        ("open comments", filled("<!--")),
        ("one attribute", format!("<p title='{}'>x", "y".repeat(LARGEST - 100))),
        ("many attributes", counted(|n| if n == 0 { "<p".to_owned() } else { format!(" a{n:x}") })),
        (
            "many pages of attributes",
            counted(|n| if n % 2_000 == 0 { "><p".to_owned() } else { format!(" a{n:x}") }),
        ),
        ("many breaks", filled("<br>")),
        ("many breaks and words", filled("<br>a ")),
        ("many small paragraphs", filled("<p>One two three four five.")),
        ("many links", counted(|n| format!("<a href='/{n}'>{n}</a>"))),
        ("many headings", filled("<h2>a</h2>one two three four ")),
        ("a heading that is a book", heading + &"<p>one two three four five six seven.".repeat(3_000)),
        ("one word", filled("x")),
        ("one line of words", filled("word ")),
        ("one sentence of dots", filled(". ")),
        ("entities", filled("&amp;&lt;&#x1F600;&unknown;")),
        ("scripts", filled("<script>x</script>")),
        ("script that never ends", format!("<script>{}", "x".repeat(LARGEST - 100))),
        ("metadata", filled("<meta name=author content=x>")),
        ("linked data", format!("<script type='application/ld+json'>{}", "[".repeat(LARGEST - 100))),
        (
            "classes",
            filled("<div class='comment article body main'><p>Words, and words, and words.</p></div>"),
        ),
        ("empty elements", filled("<p></p>")),
        ("zeros", "\0".repeat(LARGEST)),
    ]
}

#[tokio::test]
async fn no_page_stops_the_reader() {
    for (name, source) in pages() {
        let site = Site::of(html(&source)).await;
        let fetched = fetcher(&site).fetch(&site.url("/"), &call()).await;
        match fetched {
            Ok(Fetched::Page(page)) => {
                assert!(page.passages.iter().all(|passage| passage.heading.len() <= 1_200), "{name}")
            }
            Ok(Fetched::Skipped(reason)) => assert!(reason.contains("cannot be read"), "{name}: {reason}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}
