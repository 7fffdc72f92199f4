use sha2::{Digest as _, Sha256};

use crate::fetch::site::{Site, answer, html};
use crate::fetch::{fetch, page, text};

const PROSE: &str =
    "A bridge carries a road over a river, and its piers stand in the water where the current is slow. ";

fn article() -> String {
    let paragraph = format!(
        "<p>{} See <a href='/piers?utm_source=x'>the <em>piers</em></a>.</p>",
        PROSE.repeat(4).trim()
    );
    format!(
        "<!doctype html><html lang=en-GB><head><title>Bridges of the north | Example Site</title>
        <base href='/wiki/'></head><body>
        <div class=menu><ul><li><a href='/'>Home</a><li><a href=about>About us and our many friends</a></ul></div>
        <div class='ad-banner sponsor'>Buy one bridge and get another one for free today.</div>
        <div id=content><h1>Bridges of the north</h1>{paragraph}{paragraph}<h2>How they stand</h2>{paragraph}
        <pre>code is no prose at all</pre>{paragraph}</div>
        <div class='comments'><p>First comment of many that nobody wants to read.</p></div>
        <footer>All rights are reserved by somebody.</footer></body></html>"
    )
}

#[tokio::test]
async fn an_article_is_read_without_what_surrounds_it() {
    let source = article();
    let site = Site::of(html(&source)).await;
    let read = page(fetch(&site, "/start#part").await);
    assert_eq!(
        (read.url.as_str(), read.title.as_str()),
        (site.url("/start").as_str(), "Bridges of the north")
    );
    assert_eq!(read.language.as_deref(), Some("en"));
    assert_eq!(read.links, [site.url("/"), site.url("/wiki/about"), site.url("/piers")]);
    let hash: String = Sha256::digest(source.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(read.sha256, hash);
    let headings: Vec<_> = read.passages.iter().map(|passage| passage.heading.as_str()).collect();
    assert_eq!(headings, ["", "How they stand"]);
    for passage in &read.passages {
        for line in passage.text.lines() {
            assert_eq!(line, format!("{} See the piers.", PROSE.repeat(4).trim()));
        }
        assert_eq!(passage.score, 0.0);
    }
    assert_eq!(read.passages.iter().map(|passage| passage.lines).collect::<Vec<_>>(), [[3, 5], [9, 11]]);
}

#[tokio::test]
async fn a_page_without_an_article_is_read_whole() {
    for (source, expected) in [
        ("<title>T</title><p>One two three four.", "One two three four."),
        ("One two three four five", "One two three four five"),
        ("<nav><p>Words in a navigation of words.</nav>", "Words in a navigation of words."),
        ("<ul><li>One item of four<li>And another item here</ul>", "One item of four\nAnd another item here"),
        ("<p>Un", ""),
        ("", ""),
    ] {
        let site = Site::of(html(source)).await;
        assert_eq!(text(&page(fetch(&site, "/").await)), expected, "{source}");
    }
}

#[tokio::test]
async fn a_list_of_links_is_a_page() {
    let site = Site::of(html("<a href=a>A</a> <a href=b>B</a>")).await;
    let read = page(fetch(&site, "/index/").await);
    assert_eq!((read.links.len(), read.passages.len(), read.title.as_str()), (2, 0, "index"));
    let site = Site::of(answer(
        "200 OK",
        "content-type: text/html\r\nx-robots-tag: nofollow\r\n",
        b"<a href=a>A</a>",
    ))
    .await;
    assert_eq!(page(fetch(&site, "/").await).links.len(), 0);
}

#[tokio::test]
async fn text_that_is_no_html_is_read_as_what_it_is() {
    let markdown = "# The title\n\nOne two `three` four.\n\n## Part\n\nFive six seven eight.\n";
    let site = Site::of(answer("200 OK", "content-type: text/markdown\r\n", markdown.as_bytes())).await;
    let read = page(fetch(&site, "/notes.md").await);
    assert_eq!(read.title, "The title");
    let passages: Vec<_> =
        read.passages.iter().map(|it| (it.heading.as_str(), it.text.as_str(), it.lines)).collect();
    assert_eq!(passages, [("", "One two `three` four.", [3, 3]), ("Part", "Five six seven eight.", [7, 7])]);

    let plain = b"<p>is no tag here, and a line\nends somewhere.\n\nThe second paragraph follows.";
    let site = Site::of(answer("200 OK", "content-type: text/plain\r\n", plain)).await;
    let read = page(fetch(&site, "/notes.txt").await);
    assert_eq!(text(&read), "<p>is no tag here, and a line ends somewhere.\nThe second paragraph follows.");
}
