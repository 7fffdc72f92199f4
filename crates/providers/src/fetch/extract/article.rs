//! Finds the article in a page, among its navigation, advertisements and comments.

use std::time::{Duration, Instant};

use dom_query::{Document as Tree, NodeRef};
use dom_smoothie::Readability;
use html5ever::tendril::{StrTendril, TendrilSink as _};
use html5ever::{ParseOpts, parse_document};

use crate::corpus::document::Document;
use crate::corpus::html;

/// Larger trees are not searched. A few tags can make the standard's algorithm grow a tree without end, since it opens
/// unclosed formatting anew in every paragraph.
const MOST_NODES: usize = 60_000;

/// As deep as browsers go. The time of many steps grows with the depth.
const DEEPEST: usize = 512;

/// Ordinary trees take a small part of it. Some grow deep where nobody looks, and slow with it.
const LONGEST_GROWTH: Duration = Duration::from_secs(1);

/// The article of a page, or nothing if there is none to find.
pub(super) fn read(source: &str) -> Option<Document> {
    let tree = tree(source)?;
    let article = Readability::with_document(tree, None, None).ok()?.parse().ok()?;
    let document = html::read(&article.content, html::without_site(article.title.trim()));
    (!document.passages.is_empty()).then_some(document)
}

fn tree(source: &str) -> Option<Tree> {
    let mut parser = parse_document(Tree::default(), ParseOpts::default());
    let started = Instant::now();
    // No tag adds more nodes than there are, or takes longer than there are nodes.
    for part in source.split_inclusive('>') {
        parser.process(StrTendril::from(part));
        let tree = &parser.tokenizer.sink.sink.tree;
        if tree.len() > MOST_NODES
            || last_branch_is_too_deep(tree.root())
            || started.elapsed() > LONGEST_GROWTH
        {
            return None;
        }
    }
    let document = parser.finish();
    (!is_too_deep(&document)).then_some(document)
}

/// Looks where ordinary pages grow.
fn last_branch_is_too_deep(root: NodeRef<'_>) -> bool {
    std::iter::successors(Some(root), |node| node.last_child()).nth(DEEPEST).is_some()
}

fn is_too_deep(document: &Tree) -> bool {
    let mut open = vec![(document.root(), 0)];
    while let Some((node, depth)) = open.pop() {
        if depth > DEEPEST {
            return true;
        }
        open.extend(node.next_sibling().map(|next| (next, depth)));
        open.extend(node.first_child().map(|first| (first, depth + 1)));
    }
    false
}
