//! Headings, paragraphs, links and images.

use crate::stages::assessment::{Check, Finding, Threshold, share, shortened};
use crate::stages::seo::Settings;
use crate::stages::seo::page::Page;

pub(super) fn checks(page: &Page, settings: &Settings) -> Vec<Check> {
    let count = |level| page.headings().filter(|&(it, _)| it == level).count() as f64;
    vec![
        Check::new("h1", 2.0, count(1), Threshold::between(1.0, 1.0)),
        Check::new("h2", 1.0, count(2), Threshold::min(settings.min_h2 as f64)),
        heading_order(page),
        paragraphs(page, settings),
        internal_links(page, settings),
        external_links(page, settings),
        alt_texts(page),
    ]
}

/// How many headings are more than one level below the heading before.
fn heading_order(page: &Page) -> Check {
    let mut findings = Vec::new();
    let mut above = 0;
    for (level, text) in page.headings() {
        if level > above + 1 {
            let before = if above == 0 { "nothing".to_owned() } else { format!("h{above}") };
            findings.push(Finding::at(format!("h{level} follows {before}"), text));
        }
        above = level;
    }
    Check::new("heading_order", 1.0, findings.len() as f64, Threshold::max(0.0)).with(findings)
}

/// The words of the longest paragraph.
fn paragraphs(page: &Page, settings: &Settings) -> Check {
    let mut longest = 0;
    let mut findings = Vec::new();
    for text in page.paragraphs() {
        let n_words = text.split_whitespace().count();
        longest = longest.max(n_words);
        if n_words > settings.max_paragraph_words {
            findings.push(Finding::at(format!("{n_words} words in one paragraph"), text));
        }
    }
    let threshold = Threshold::max(settings.max_paragraph_words as f64);
    Check::new("paragraph_words", 1.0, longest as f64, threshold).with(findings)
}

/// Links that stay on the site: without a scheme, and not to a place on the page itself.
fn internal_links(page: &Page, settings: &Settings) -> Check {
    let internal =
        |to: &str| !to.is_empty() && !to.starts_with('#') && !to.contains(':') && !to.starts_with("//");
    let n_links = page.links.iter().filter(|link| internal(&link.to)).count();
    Check::new("internal_links", 0.5, n_links as f64, Threshold::min(settings.min_internal_links as f64))
}

/// Links to other sites. One that says nothing of where it leads is a finding.
fn external_links(page: &Page, settings: &Settings) -> Check {
    let mut n_links = 0;
    let mut findings = Vec::new();
    for link in &page.links {
        n_links += usize::from(link.to.starts_with("http://") || link.to.starts_with("https://"));
        let text = link.text.trim().to_lowercase();
        if ["", "here", "click here", "link", "this", "this link", "more", "read more"]
            .contains(&text.as_str())
        {
            let to = shortened(&link.to);
            findings.push(Finding::at(format!("the link to {to} has no telling text"), &link.text));
        }
    }
    let threshold = Threshold::min(settings.min_external_links as f64);
    Check::new("external_links", 0.5, n_links as f64, threshold).with(findings)
}

/// The share of images with an alternative text.
fn alt_texts(page: &Page) -> Check {
    let without = page.images.iter().filter(|image| image.alt.is_empty());
    let findings: Vec<Finding> =
        without.map(|image| Finding::at("the image has no alternative text", &image.address)).collect();
    let n_images = page.images.len();
    let value = share(n_images - findings.len(), n_images, 1.0);
    Check::new("alt_texts", 1.0, value, Threshold::min(1.0)).with(findings)
}
