//! Takes the prose out of a page.

mod article;
mod survey;

use std::sync::Arc;
use std::thread::available_parallelism;

use quillwork_app::ports::fetch::{Fetched, Page};
use quillwork_app::ports::search::Passage;
use reqwest::header::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use url::Url;

use crate::corpus::decode::decode;
use crate::corpus::document::Document;
use crate::corpus::origin::Format;
use crate::corpus::{html, markdown, plain};
use crate::fetch::media_type::MediaType;
use crate::fetch::name_of;

/// What came back for a page.
pub(super) struct Body {
    pub(super) url: Url,
    pub(super) bytes: Vec<u8>,
    pub(super) media_type: MediaType,
    /// Whether its links are for robots.
    pub(super) follow: bool,
}

/// Reads pages on threads of their own, so many at once as there are cores; cheap to clone.
#[derive(Clone)]
pub(super) struct Extractor {
    product: Arc<str>,
    threads: Arc<Semaphore>,
}

impl Extractor {
    pub(super) fn new(product: String) -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        Self { product: product.into(), threads: Arc::new(Semaphore::new(threads)) }
    }

    pub(super) async fn extract(&self, body: Body) -> Fetched {
        let url = body.url.clone();
        let product = Arc::clone(&self.product);
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let reading = tokio::task::spawn_blocking(move || {
            // Given back by the thread: it reads to the end, even if nobody waits for it any more.
            let _permit = permit;
            page(&body, &product)
        });
        // One page that trips a parser must not keep the others from being read.
        let read = reading.await.unwrap_or_else(|_| Err("its reader failed".to_owned()));
        match read {
            Ok(page) => Fetched::Page(Box::new(page)),
            Err(reason) => Fetched::Skipped(format!("{url} cannot be read: {reason}")),
        }
    }
}

fn page(body: &Body, product: &str) -> Result<Page, String> {
    let MediaType { format, charset } = body.media_type;
    let text = decode(&body.bytes, format == Format::Html, charset)?;
    let fallback = fallback_title(&body.url);
    let (document, links, language) = match format {
        Format::Html => {
            let survey = survey::survey(&text, &body.url, product)?;
            let document = article::read(&text).unwrap_or_else(|| html::read(&text, &fallback));
            (document, if body.follow { survey.links } else { Vec::new() }, survey.language)
        }
        Format::Markdown => (markdown::read(&text, &fallback), Vec::new(), None),
        Format::Plain => (plain::read(&text, &fallback), Vec::new(), None),
    };
    Ok(Page {
        url: name_of(&body.url),
        passages: passages(&document),
        title: document.title,
        links,
        sha256: Sha256::digest(&body.bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        language,
    })
}

/// The passages with the lines that they have in the document written as Markdown: the title, headings and paragraphs
/// each on a line, a blank line between any two.
fn passages(document: &Document) -> Vec<Passage> {
    let mut line: u32 = 1;
    let mut heading = "";
    let mut numbered = Vec::with_capacity(document.passages.len());
    for passage in &document.passages {
        if passage.heading != heading {
            heading = &passage.heading;
            line = line.saturating_add(2);
        }
        let first = line.saturating_add(2);
        let more = u32::try_from(passage.text.matches('\n').count()).unwrap_or(u32::MAX);
        line = first.saturating_add(more.saturating_mul(2));
        numbered.push(Passage {
            heading: passage.heading.clone(),
            text: passage.text.clone(),
            lines: [first, line],
            score: 0.0,
        });
    }
    numbered
}

/// What a page is called that has no title.
fn fallback_title(url: &Url) -> String {
    let last = url.path_segments().and_then(|mut segments| segments.rfind(|segment| !segment.is_empty()));
    last.or(url.host_str()).unwrap_or_default().to_owned()
}

/// Whether the headers of a page ask robots not to follow its links.
pub(super) fn forbids_following(headers: &HeaderMap, product: &str) -> bool {
    headers.get_all("x-robots-tag").iter().any(|value| {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        match value.split_once(':') {
            Some((robot, asked)) if !robot.contains([',', ' ', '_']) => {
                robot == product && has_nofollow(asked)
            }
            Some(_) | None => has_nofollow(&value),
        }
    })
}

fn has_nofollow(asked: &str) -> bool {
    asked.split(',').any(|word| matches!(word.trim(), "nofollow" | "none"))
}

#[cfg(test)]
mod tests {
    use crate::corpus::document::DocumentPassage;

    use super::*;

    #[test]
    fn lines_are_those_of_the_page_as_markdown() {
        let passage = |heading: &str, text: &str| DocumentPassage {
            heading: heading.to_owned(),
            text: text.to_owned(),
            lines: [0, 0],
        };
        let document = Document {
            title: "Title".to_owned(),
            passages: vec![
                passage("", "one\ntwo"),
                passage("A", "three"),
                passage("A", "four"),
                passage("B", "five\nsix\nseven"),
            ],
        };
        let written = "# Title\n\none\n\ntwo\n\n## A\n\nthree\n\nfour\n\n## B\n\nfive\n\nsix\n\nseven";
        let lines: Vec<&str> = written.lines().collect();
        for passage in passages(&document) {
            let [first, last] = passage.lines.map(|line| line as usize);
            let read: Vec<_> =
                lines[first - 1..last].iter().copied().filter(|line| !line.is_empty()).collect();
            assert_eq!(read.join("\n"), passage.text);
        }
    }

    #[test]
    fn headers_may_ask_not_to_follow() {
        for (value, forbids) in [
            ("nofollow", true),
            ("noindex, NoFollow", true),
            ("none", true),
            ("noindex", false),
            ("", false),
            ("quillwork: nofollow", true),
            ("otherbot: nofollow", false),
            ("quillwork: noindex", false),
            ("unavailable_after: 25 Jun 2030 15:00:00 GMT, nofollow", true),
            ("nofollower", false),
        ] {
            let headers: HeaderMap =
                [("x-robots-tag".parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            assert_eq!(forbids_following(&headers, "quillwork"), forbids, "{value}");
        }
    }
}
