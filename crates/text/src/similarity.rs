//! Which texts say the same in nearly the same words.

use crate::words::terms;

/// Terms in a row that count as one feature: the order of words matters, but not far.
const SHINGLE: usize = 3;

/// Texts without kinship differ in 32 of 64 bits, give or take 4. Ten bits are about every eighth shingle.
const NEAR: u32 = 10;

/// What a text looks like in 64 bits (simhash): the more two texts share, the fewer bits differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// None for a text without terms, which is like nothing.
    pub fn of(text: &str) -> Option<Self> {
        Self::of_terms(&terms(text))
    }

    /// As [`of`](Self::of), of a text whose terms are known.
    pub fn of_terms(terms: &[String]) -> Option<Self> {
        if terms.is_empty() {
            return None;
        }
        let mut votes = [0i64; 64];
        // A text of fewer terms is one shingle.
        for shingle in terms.windows(SHINGLE.min(terms.len())) {
            let hash = hash(shingle);
            for (bit, vote) in votes.iter_mut().enumerate() {
                *vote += if hash >> bit & 1 == 1 { 1 } else { -1 };
            }
        }
        let bits = votes.iter().enumerate().filter(|&(_, &vote)| vote > 0);
        Some(Self(bits.fold(0, |bits, (bit, _)| bits | 1 << bit)))
    }

    /// In how many of 64 bits two texts differ.
    pub fn distance(self, other: Self) -> u32 {
        (self.0 ^ other.0).count_ones()
    }

    /// Whether one text is the other, but for a word here and there.
    pub fn is_near(self, other: Self) -> bool {
        self.distance(other) <= NEAR
    }
}

/// FNV-1a, and then every bit of it stirred into every other: simhash wants bits that know nothing of each other.
fn hash(shingle: &[String]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for term in shingle {
        // No UTF-8 has the byte 0xff: terms do not run into each other.
        for byte in term.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "A lease is renewed after a third of its time has passed. The store refuses a write whose token is \
        older than the newest lease, and the worker that held it stops. Whoever takes the task over starts the stage \
        again from its last checkpoint, so that finished steps are not repeated and no result is written twice.";

    #[track_caller]
    fn near(a: &str, b: &str) -> bool {
        Fingerprint::of(a).unwrap().is_near(Fingerprint::of(b).unwrap())
    }

    #[test]
    fn texts_are_near_but_for_a_word() {
        let one_word_less = TEXT.replace("from its last checkpoint, ", "");
        let other_signs = TEXT.replace(". ", "; ").to_uppercase();
        let other = "Congestion control keeps a sender from overwhelming the network. A window limits how much data \
            may be on its way, and it grows with every acknowledgement until a segment is lost.";
        let turned: String = TEXT.split(' ').rev().collect::<Vec<_>>().join(" ");
        for (text, expected) in [
            (TEXT, true),
            (one_word_less.as_str(), true),
            (other_signs.as_str(), true),
            (other, false),
            (turned.as_str(), false),
        ] {
            assert_eq!(near(TEXT, text), expected, "{text}");
        }
    }

    #[test]
    fn texts_of_few_terms_are_compared_too() {
        assert!(near("The lease", "leases"));
        assert!(!near("A lease", "A task"));
        assert_eq!(Fingerprint::of("of the, and"), None);
    }

    #[test]
    fn a_fingerprint_does_not_change_between_versions() {
        assert_eq!(Fingerprint::of(TEXT).map(|it| it.0), Some(10_398_369_621_625_203_931));
    }
}
