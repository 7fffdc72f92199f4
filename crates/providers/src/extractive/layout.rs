//! Lays the selected sentences out as an article.

use std::fmt::Write;

use quillwork_app::ports::search::{Findings, Searched};
use quillwork_app::ports::writer::{Article, CitedSource};
use quillwork_text::escape::escape;

use crate::corpus::document::fold;
use crate::extractive::candidates::{Candidate, is_markdown};
use crate::extractive::select::Selection;

/// An article of quotations, its sources numbered as they appear.
pub(crate) fn lay_out(
    topic: &str,
    findings: &Findings,
    candidates: &[Candidate],
    selection: &Selection,
) -> Article {
    let mut cited = Cited { findings, sources: Vec::new() };
    let lead: Vec<String> = selection.lead.iter().map(|&it| cited.quote(&candidates[it])).collect();
    // The title of the only source would repeat itself in every heading.
    let mut used =
        selection.lead.iter().chain(selection.sections.iter().flatten()).map(|&it| candidates[it].source);
    let first_source = used.next();
    let one_source = used.all(|source| Some(source) == first_source);
    let mut body = format!("## In brief\n\n{}\n", lead.join(" "));
    for section in &selection.sections {
        let Some(&first) = section.first() else { continue };
        // Infallible: a string takes everything.
        let _ = write!(body, "\n## {}\n\n", heading(findings, &candidates[first], one_source));
        for &bullet in section {
            let _ = writeln!(body, "- {}", cited.quote(&candidates[bullet]));
        }
    }
    let title = fold(topic);
    let notice = notice(cited.sources.len(), &findings.searched);
    let sources: Vec<String> =
        cited.sources.iter().map(|(_, source)| source.entry(&escape(&source.title))).collect();
    let markdown =
        format!("# {}\n\n> {notice}\n\n{body}\n## Sources\n\n{}\n", escape(&title), sources.join("\n"));
    Article {
        title,
        markdown,
        sources: cited.sources.into_iter().map(|(_, source)| source).collect(),
        method: "extractive".to_owned(),
        model: None,
        provider: None,
        prompt: None,
        usage: None,
        degraded: None,
    }
}

fn notice(n_sources: usize, searched: &Searched) -> String {
    let documents = if n_sources == 1 { "1 document".to_owned() } else { format!("{n_sources} documents") };
    format!(
        "Extractive digest: every sentence below is quoted word for word from {documents} of {} ({} documents, {} \
         passages searched). No language model was used.",
        escape(&searched.name),
        searched.documents,
        searched.passages
    )
}

/// The sources that are cited, by their index in the findings.
struct Cited<'a> {
    findings: &'a Findings,
    sources: Vec<(usize, CitedSource)>,
}

impl Cited<'_> {
    /// The sentence with the number of its source, which now holds it as a quote.
    fn quote(&mut self, candidate: &Candidate) -> String {
        let source = &self.findings.sources[candidate.source];
        let at = self.sources.iter().position(|(index, _)| *index == candidate.source).unwrap_or_else(|| {
            let cited = CitedSource {
                n: u32::try_from(self.sources.len() + 1).unwrap_or(u32::MAX),
                title: source.title.clone(),
                location: source.location.clone(),
                lines: Vec::new(),
                quotes: Vec::new(),
            };
            self.sources.push((candidate.source, cited));
            self.sources.len() - 1
        });
        let (_, cited) = &mut self.sources[at];
        cited.quotes.push(candidate.text.clone());
        cited.lines.push(source.passages[candidate.passage].lines);
        let text =
            if is_markdown(&source.location) { candidate.text.clone() } else { escape(&candidate.text) };
        format!("{text} [{}]", cited.n)
    }
}

/// `Freshness — HTTP Caching`: the section and its document.
fn heading(findings: &Findings, candidate: &Candidate, one_source: bool) -> String {
    let source = &findings.sources[candidate.source];
    let section = without_number(&source.passages[candidate.passage].heading);
    let (section, title) = (fold(section), fold(without_number(&source.title)));
    if section.is_empty() || section == title {
        return escape(&title);
    }
    if one_source { escape(&section) } else { escape(&format!("{section} — {title}")) }
}

/// A heading without the number that orders it in its document.
fn without_number(heading: &str) -> &str {
    let trimmed = heading.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    if trimmed.len() < heading.len() && trimmed.starts_with([' ', ':', ')']) {
        trimmed.trim_start_matches([' ', ':', ')'])
    } else {
        heading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_lose_their_numbers() {
        assert_eq!(without_number("3.1. Slow Start"), "Slow Start");
        assert_eq!(without_number("2024 in review"), "in review");
        assert_eq!(without_number("3D printing"), "3D printing");
    }
}
