//! Which of several endpoints a call goes to. A plain function: what is known of them, and chance, come in as data.

use std::time::Duration;

use crate::resilience::Standing;

/// An endpoint, as far as the choice is concerned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) weight: u32,
    pub(super) standing: Standing,
    /// The last call found its key, address or model refused.
    pub(super) is_misconfigured: bool,
    /// Its headers say that this call would exceed what is left of its rate.
    pub(super) is_short: bool,
    /// Of its recent answers.
    pub(super) latency: Option<Duration>,
    /// What this call would cost there, if known.
    pub(super) cost_micros: Option<u64>,
}

/// The slowest and the dearest are still chosen this often, in thousandths of what their weight says: what is never
/// asked is never measured.
const LEAST: u64 = 250;

/// So much less often one is chosen that will most likely refuse.
const SHORT_FACTOR: u64 = 10;

/// Chooses among the candidates that can be asked, or none if there are none.
///
/// One with a free slot comes before one where the call would wait; those of weight 0 come after all others, and last
/// come those that are misconfigured. Among equals `random` decides, in proportion to weight, speed and price.
pub(super) fn choose(candidates: &[Candidate], random: u32) -> Option<usize> {
    let best = candidates.iter().filter_map(rank).min()?;
    let among: Vec<usize> = (0..candidates.len()).filter(|n| rank(&candidates[*n]) == Some(best)).collect();
    let fastest = among.iter().filter_map(|n| candidates[*n].latency).min().unwrap_or_default();
    let cheapest = among.iter().filter_map(|n| candidates[*n].cost_micros).min().unwrap_or_default();
    let scores: Vec<u64> = among.iter().map(|n| score(&candidates[*n], fastest, cheapest)).collect();
    let total: u64 = scores.iter().sum();
    // Evenly from 0 to the total, without it.
    let mut at = ((u128::from(random) * u128::from(total)) >> 32) as u64;
    for (n, score) in among.iter().zip(&scores) {
        if at < *score {
            return Some(*n);
        }
        at -= score;
    }
    among.last().copied()
}

/// Lower is better; None cannot be asked.
fn rank(candidate: &Candidate) -> Option<u8> {
    let has_slot = match candidate.standing {
        Standing::Ready { has_slot } => has_slot,
        Standing::Away { .. } => return None,
    };
    let by_weight = if candidate.weight > 0 { 0 } else { 2 };
    Some(if candidate.is_misconfigured { 4 } else { by_weight + u8::from(!has_slot) })
}

fn score(candidate: &Candidate, fastest: Duration, cheapest: u64) -> u64 {
    let speed = candidate.latency.map_or(1_000, |latency| share(fastest.as_micros(), latency.as_micros()));
    let price = candidate.cost_micros.map_or(1_000, |cost| share(cheapest.into(), cost.into()));
    let score = u64::from(candidate.weight.max(1)) * speed * price;
    if candidate.is_short { score / SHORT_FACTOR } else { score }
}

/// `best` of `this`, in thousandths.
fn share(best: u128, this: u128) -> u64 {
    let share = (best * 1_000).checked_div(this).and_then(|share| u64::try_from(share).ok());
    share.unwrap_or(1_000).clamp(LEAST, 1_000)
}

#[cfg(test)]
mod tests;
