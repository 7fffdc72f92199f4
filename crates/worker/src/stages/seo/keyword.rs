//! Whether the article says early what it is about, and not too often.

use quillwork_text::words::{terms, topic_terms};

use crate::stages::assessment::{Check, Finding, Threshold, share};
use crate::stages::seo::Settings;
use crate::stages::seo::page::Page;

/// What a reader sees first.
const OPENING_WORDS: usize = 100;

pub(super) fn checks(keyword: &str, title: &str, page: &Page, settings: &Settings) -> Vec<Check> {
    let keyword = topic_terms(keyword);
    let h1 = page.headings().find(|&(level, _)| level == 1).map_or("", |(_, text)| text);
    let opening: Vec<&str> = page.paragraphs().flat_map(str::split_whitespace).take(OPENING_WORDS).collect();
    let held = |name, weight, text: &str| {
        let terms = terms(text);
        let missing: Vec<&str> =
            keyword.iter().filter(|term| !terms.contains(term)).map(String::as_str).collect();
        let value = share(keyword.len() - missing.len(), keyword.len(), 1.0);
        let problem = || Finding::at(format!("has no word with the stem {}", missing.join(", ")), text);
        let findings = if missing.is_empty() { Vec::new() } else { vec![problem()] };
        Check::new(name, weight, value, Threshold::min(settings.min_keyword_share)).with(findings)
    };
    vec![
        held("keyword_in_title", 2.0, title),
        held("keyword_in_h1", 1.0, h1),
        held("keyword_in_opening", 1.0, &opening.join(" ")),
        density(&keyword, page, settings),
    ]
}

/// The share of all words that the most frequent word of the keyword is.
fn density(keyword: &[String], page: &Page, settings: &Settings) -> Check {
    let n_words: usize = page.blocks.iter().map(|block| block.text.split_whitespace().count()).sum();
    let mut counts = vec![0; keyword.len()];
    for term in page.blocks.iter().flat_map(|block| terms(&block.text)) {
        // The terms of a topic are sorted.
        if let Ok(n) = keyword.binary_search(&term) {
            counts[n] += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    let value = share(most, n_words, 0.0);
    let findings = if value > settings.max_keyword_density {
        let often = keyword.iter().zip(&counts).filter(|&(_, &count)| count == most);
        often
            .map(|(term, count)| {
                Finding::new(format!("words with the stem {term} stand there {count} times"))
            })
            .collect()
    } else {
        Vec::new()
    };
    Check::new("keyword_density", 1.0, value, Threshold::max(settings.max_keyword_density)).with(findings)
}
