//! Several rankings made one: reciprocal rank fusion, each document once.

use std::cmp::Ordering;
use std::collections::HashMap;

use quillwork_app::address::canonical;
use quillwork_app::ports::search::{Location, Source};

/// The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): how much the first places stand out.
const K: f64 = 60.0;

/// One list of all sources, best first: each weighs the sum of `1 / (60 + rank)` over the lists that have it.
///
/// The same document is told by its canonical address, or by its path. What one list has read is kept.
pub(super) fn fuse(lists: Vec<Vec<Source>>) -> Vec<Source> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut fused: Vec<(f64, Source)> = Vec::new();
    for list in lists {
        for (rank, mut source) in (1_u32..).zip(list) {
            let weight = 1.0 / (K + f64::from(rank));
            let key = match &source.location {
                Location::Path(path) => format!("path {path}"),
                Location::Url(url) => {
                    // What is no address is refused when it is fetched, with a reason.
                    let address = canonical(url).unwrap_or_else(|| url.clone());
                    source.location = Location::Url(address.clone());
                    address
                }
            };
            match places.get(&key) {
                None => {
                    places.insert(key, fused.len());
                    fused.push((weight, source));
                }
                Some(&at) => {
                    let (total, known) = &mut fused[at];
                    *total += weight;
                    known.found_by.extend(source.found_by);
                    known.found_by.dedup();
                    if known.passages.is_empty() {
                        (known.passages, known.sha256) = (source.passages, source.sha256);
                    }
                }
            }
        }
    }
    // Equal weights stay in the order of the lists.
    fused.sort_by(|(a, _), (b, _)| b.partial_cmp(a).unwrap_or(Ordering::Equal));
    fused.into_iter().map(|(_, source)| source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(url: &str, by: &str) -> Source {
        Source {
            n: 0,
            title: url.to_owned(),
            location: Location::Url(url.to_owned()),
            passages: vec![],
            found_by: vec![by.to_owned()],
            sha256: None,
        }
    }

    fn fused(lists: Vec<Vec<Source>>) -> Vec<(String, Vec<String>)> {
        let place = |source: Source| match source.location {
            Location::Path(place) | Location::Url(place) => (place, source.found_by),
        };
        fuse(lists).into_iter().map(place).collect()
    }

    fn by(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_two_searches_find_comes_before_what_one_finds_first() {
        let lists = vec![
            vec![source("https://a.org/1", "x"), source("https://a.org/2", "x")],
            vec![source("https://b.org/1", "y"), source("https://A.org/2#part", "y")],
        ];
        assert_eq!(
            fused(lists),
            [
                ("https://a.org/2".to_owned(), by(&["x", "y"])),
                ("https://a.org/1".to_owned(), by(&["x"])),
                ("https://b.org/1".to_owned(), by(&["y"])),
            ]
        );
    }

    #[test]
    fn one_list_keeps_its_order() {
        let list: Vec<Source> = (0..100).map(|n| source(&format!("https://a.org/{n}"), "x")).collect();
        let places: Vec<String> = fused(vec![list]).into_iter().map(|(place, _)| place).collect();
        let expected: Vec<String> = (0..100).map(|n| format!("https://a.org/{n}")).collect();
        assert_eq!(places, expected);
    }
}
