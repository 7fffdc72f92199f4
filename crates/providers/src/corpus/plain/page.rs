//! Takes the page headers, page footers and form feeds out of a paginated text.

/// A line of the body, with its number in the file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) number: u32,
    /// The first line with text after the end of a page.
    pub(super) after_page: bool,
}

/// The lines between the page furniture. Lines that were removed leave a blank one.
pub(super) fn body_lines(source: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut header_due = false;
    let mut after_page = false;
    for (number, raw) in (1u32..).zip(source.split('\n')) {
        let line = raw.trim_end_matches('\r');
        // A form feed stands on a line of its own, or before the header.
        header_due |= line.contains('\u{c}');
        let text = line.trim_matches('\u{c}');
        let blank = text.trim().is_empty();
        let furniture = is_footer(text) || header_due && is_header(text);
        if is_footer(text) {
            after_page = true;
            header_due = true;
        } else if header_due && !blank {
            header_due = false;
            after_page = true;
        }
        let body = !furniture && !blank;
        lines.push(Line { text: if body { text } else { "" }, number, after_page: body && after_page });
        after_page &= !body;
    }
    lines
}

/// `Postel                                                         [Page 12]`
fn is_footer(line: &str) -> bool {
    let Some((_, page)) = line.trim_end().rsplit_once("[Page ") else { return false };
    page.strip_suffix(']').is_some_and(|page| {
        let page = page.trim();
        !page.is_empty() && page.chars().all(|c| c.is_ascii_digit() || "ivxlcIVXLC-".contains(c))
    })
}

/// `RFC 5681                 TCP Congestion Control           September 2009`
fn is_header(line: &str) -> bool {
    let ends_in_year = line
        .trim_end()
        .get(line.trim_end().len().saturating_sub(4)..)
        .is_some_and(|year| year.len() == 4 && year.chars().all(|c| c.is_ascii_digit()));
    let starts_as_rfc = line.trim_start().starts_with("RFC ") || line.trim_start().starts_with("BCP ");
    let columns = line.trim().contains("   ");
    starts_as_rfc && (ends_in_year || columns) || ends_in_year && columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_crosses_the_page_break() {
        let source = "   A sentence that\n\n\nAllman, et al.     Standards Track      [Page 3]\n\u{c}\nRFC 5681      TCP Congestion Control    September 2009\n\n   goes on.\n";
        let body: Vec<_> = body_lines(source).into_iter().filter(|line| !line.text.is_empty()).collect();
        assert_eq!(
            body,
            [
                Line { text: "   A sentence that", number: 1, after_page: false },
                Line { text: "   goes on.", number: 8, after_page: true },
            ]
        );
    }
}
