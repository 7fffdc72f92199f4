//! Recognizes sections about the document itself, and headings that are none.

use crate::corpus::document::fold;

/// Sections that say nothing about a document's subject.
#[rustfmt::skip]
const APPARATUS: &[&str] = &[
    "acknowledgement", "acknowledgements", "acknowledgment", "acknowledgments", "author", "author's address",
    "author's addresses", "authors", "authors address", "authors addresses", "authors' address",
    "authors' addresses", "bibliography", "change log", "changelog", "contents", "contributing",
    "contributors", "copyright", "copyright and license", "copyright notice", "copyright statement",
    "credits", "disclaimer", "disclaimer of validity", "editor's address", "editors' addresses", "feedback",
    "full copyright statement", "further reading", "iesg note", "index", "informative reference",
    "informative references", "intellectual property", "intellectual property statement", "ipr notice",
    "licence", "license", "normative reference", "normative references", "on this page", "reference",
    "references", "related documents", "related pages", "revision history", "see also", "seealso", "sources",
    "status of this document", "status of this memo", "table of contents", "terms of use", "this page",
];

/// Titles of boxes inside a section.
const ASIDES: &[&str] =
    &["caution", "danger", "example", "examples", "hint", "important", "note", "notes:", "tip", "warning"];

/// Whether a heading, less its number, names a section about the document itself.
pub(crate) fn is_apparatus(heading: &str) -> bool {
    APPARATUS.contains(&name(heading).as_str())
}

/// Whether a heading only labels a box in the section around it.
pub(crate) fn is_aside(heading: &str) -> bool {
    ASIDES.contains(&name(heading).as_str())
}

/// Whether a section tells how the subject changed rather than what it is.
pub(crate) fn is_history(heading: &str) -> bool {
    let name = name(heading);
    ["changes", "change history", "differences", "history", "what's new", "release notes", "new in"]
        .iter()
        .any(|start| name.starts_with(start))
}

fn name(heading: &str) -> String {
    let name = heading.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
    fold(&name.to_lowercase().replace('’', "'")).trim_end_matches([':', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_case_do_not_matter() {
        assert!(is_apparatus("10.  REFERENCES"));
        assert!(is_apparatus("Authors’ Addresses"));
        assert!(!is_apparatus("Reference counting"));
        assert!(is_aside("Tip"));
        assert!(is_history("5. Changes Relative to RFC 2581"));
    }
}
