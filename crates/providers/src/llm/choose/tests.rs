use proptest::prelude::*;
use quillwork_domain::job::ErrorClass;

use super::*;

const FREE: Standing = Standing::Ready { has_slot: true };
const BUSY: Standing = Standing::Ready { has_slot: false };

fn away() -> Standing {
    Standing::Away { left: Duration::from_secs(12), class: ErrorClass::RateLimited, reason: String::new() }
}

fn candidate(weight: u32, standing: Standing) -> Candidate {
    let (latency, cost_micros) = (None, None);
    Candidate { weight, standing, is_misconfigured: false, is_short: false, latency, cost_micros }
}

/// How often each is chosen, of 1000 calls with chance spread evenly.
fn shares(candidates: &[Candidate]) -> Vec<usize> {
    let mut shares = vec![0; candidates.len()];
    for n in 0..1_000_u32 {
        if let Some(chosen) = choose(candidates, n * (u32::MAX / 1_000)) {
            shares[chosen] += 1;
        }
    }
    shares
}

#[test]
fn who_is_asked_how_often() {
    let plain = |weight| candidate(weight, FREE);
    let wrong = |weight| Candidate { is_misconfigured: true, ..plain(weight) };
    let short = |weight| Candidate { is_short: true, ..plain(weight) };
    let takes = |millis| Candidate { latency: Some(Duration::from_millis(millis)), ..plain(1) };
    let costs = |micros| Candidate { cost_micros: Some(micros), ..plain(1) };
    let cases = [
        ("by weight", vec![plain(1), plain(3)], vec![250, 750]),
        ("alone", vec![plain(7)], vec![1_000]),
        ("not one that is away", vec![plain(1), candidate(100, away())], vec![1_000, 0]),
        ("a free slot comes first", vec![candidate(100, BUSY), plain(1)], vec![0, 1_000]),
        ("a line is better than nothing", vec![candidate(1, BUSY), candidate(1, away())], vec![1_000, 0]),
        ("weight 0 is a reserve", vec![plain(0), candidate(1, BUSY)], vec![0, 1_000]),
        ("and reserves are equal", vec![plain(0), plain(0), candidate(1, away())], vec![500, 500, 0]),
        ("a wrong key is the last resort", vec![wrong(9), plain(0)], vec![0, 1_000]),
        ("but it is one", vec![wrong(9), candidate(1, away())], vec![1_000, 0]),
        ("little rate left", vec![short(1), plain(1)], vec![91, 909]),
        ("the faster one", vec![takes(200), takes(400)], vec![667, 333]),
        ("but not only", vec![takes(1), takes(60_000)], vec![800, 200]),
        ("an unknown one is tried", vec![takes(200), plain(1)], vec![500, 500]),
        ("the cheaper one", vec![costs(100), costs(200)], vec![667, 333]),
        ("a free one", vec![costs(0), costs(1)], vec![800, 200]),
        ("nobody", vec![candidate(1, away())], vec![0]),
        ("none at all", vec![], vec![]),
    ];
    for (what, candidates, expected) in cases {
        let shares = shares(&candidates);
        let is_close =
            shares.iter().zip(&expected).all(|(is, should): (&usize, &usize)| is.abs_diff(*should) <= 1);
        assert!(is_close, "{what}: {shares:?}, not {expected:?}");
    }
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let standing = prop_oneof![Just(FREE), Just(BUSY), Just(away())];
    let latency = prop::option::of((0..u64::MAX).prop_map(Duration::from_millis));
    let one = (any::<u32>(), standing, any::<bool>(), any::<bool>(), latency, any::<Option<u64>>());
    let one = one.prop_map(|(weight, standing, is_misconfigured, is_short, latency, cost_micros)| {
        Candidate { weight, standing, is_misconfigured, is_short, latency, cost_micros }
    });
    prop::collection::vec(one, 0..8)
}

proptest! {
    #[test]
    fn never_a_worse_one_while_a_better_one_exists(candidates in candidates(), random in any::<u32>()) {
        let best = candidates.iter().filter_map(rank).min();
        prop_assert_eq!(choose(&candidates, random).and_then(|n| rank(&candidates[n])), best);
    }

    #[test]
    fn weights_hold_in_the_long_run(weights in prop::collection::vec(1..50_u32, 1..6)) {
        let candidates: Vec<_> = weights.iter().map(|weight| candidate(*weight, FREE)).collect();
        let total: u32 = weights.iter().sum();
        for (share, weight) in shares(&candidates).iter().zip(&weights) {
            let expected = 1_000 * weight / total;
            prop_assert!(share.abs_diff(expected as usize) <= 2, "{} of {}: {}", weight, total, share);
        }
    }
}
