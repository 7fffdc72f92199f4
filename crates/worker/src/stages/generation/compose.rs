//! From a model's text to an article: cited sources numbered anew, and listed at its end.

use quillwork_app::ports::search::Findings;
use quillwork_app::ports::writer::{Article, CitedSource, Usage};
use quillwork_text::citations::{Kind, blocks, markers};
use quillwork_text::escape::escape;

use super::material::Material;
use super::model::Written;

/// The article of `text`, whose citations are numbers of the findings.
pub(super) fn compose(
    topic: &str,
    text: &str,
    findings: &Findings,
    material: &Material<'_>,
    written: &Written,
    usage: Usage,
) -> Article {
    let (text, order) = renumber(text);
    let sources: Vec<CitedSource> = (1..)
        .zip(order)
        .filter_map(|(n, cited)| {
            let source = findings.sources.iter().find(|source| source.n == cited)?;
            Some(CitedSource {
                n,
                title: source.title.clone(),
                location: source.location.clone(),
                lines: material.lines(cited),
                quotes: vec![],
            })
        })
        .collect();
    let heading = blocks(&text).into_iter().find(|block| block.kind == Kind::Heading(1));
    let title = heading.map(|block| {
        let sentences: Vec<String> = block.sentences.into_iter().map(|sentence| sentence.text).collect();
        sentences.join(" ")
    });
    let list: Vec<String> = sources.iter().map(|source| source.entry(&escape(&source.title))).collect();
    Article {
        title: title.unwrap_or_else(|| topic.to_owned()),
        markdown: format!("{text}\n\n## Sources\n\n{}\n", list.join("\n")),
        sources,
        method: "model".to_owned(),
        model: Some(written.completion.model.clone()),
        provider: Some(written.completion.provider.clone()),
        prompt: Some(written.prompt.clone()),
        usage: Some(usage),
        degraded: None,
    }
}

/// The text with its sources numbered from 1 in the order in which they are first cited, and their former numbers.
fn renumber(text: &str) -> (String, Vec<u32>) {
    let mut order: Vec<u32> = Vec::new();
    let mut renumbered = String::with_capacity(text.len());
    let mut end = 0;
    for marker in markers(text) {
        let numbers: Vec<String> = marker
            .numbers
            .iter()
            .map(|number| {
                let at = order.iter().position(|known| known == number).unwrap_or_else(|| {
                    order.push(*number);
                    order.len() - 1
                });
                (at + 1).to_string()
            })
            .collect();
        renumbered.push_str(&text[end..marker.range.start]);
        renumbered.push_str(&format!("[{}]", numbers.join(", ")));
        end = marker.range.end;
    }
    renumbered.push_str(&text[end..]);
    (renumbered, order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_count_in_the_order_of_the_text() {
        let (text, order) = renumber("A [4]. B [2, 4][1]. `x[9]` C [2].");
        assert_eq!(text, "A [1]. B [2, 1][3]. `x[9]` C [2].");
        assert_eq!(order, [4, 2, 1]);
    }
}
