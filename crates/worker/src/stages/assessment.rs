//! What a stage that judges an article says: checks with what they measured, and where an author can do better.

use std::fmt::Write;

use quillwork_domain::job::{ErrorClass, Rework};
use serde::{Deserialize, Serialize};

use crate::runner::MAX_REASON_BYTES;
use crate::stage::{StageError, StageOutput};

/// Who writes the next draft.
const WRITER: &str = "generation";

/// Longer texts are shortened where they are shown.
const SHOWN_CHARS: usize = 160;
/// Longer problems are cut off: they may name what the article has.
const PROBLEM_CHARS: usize = 500;
/// More citations of one place are left out.
const SHOWN_CITES: usize = 20;
/// More findings of one check are counted only.
const SHOWN_FINDINGS: usize = 20;
/// What a reason quotes of each failed check.
const QUOTED_FINDINGS: usize = 3;

const ELLIPSIS: &str = "…";

/// One thing that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) threshold: Threshold,
    /// What it counts in the score.
    pub(super) weight: f64,
    /// Whether the article fails with it, whatever its score.
    pub(super) required: bool,
    pub(super) passed: bool,
    /// The places to look at, also of a check that passed; the first of them.
    pub(super) findings: Vec<Finding>,
    pub(super) findings_total: usize,
}

/// What a value may be, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Threshold {
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
}

impl Threshold {
    pub(super) fn min(min: f64) -> Self {
        Self { min: Some(min), max: None }
    }

    pub(super) fn max(max: f64) -> Self {
        Self { min: None, max: Some(max) }
    }

    pub(super) fn between(min: f64, max: f64) -> Self {
        Self { min: Some(min), max: Some(max) }
    }

    fn holds(self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.min, self.max) {
            (Some(min), Some(max)) if min == max => write!(f, "exactly {min}"),
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (None, None) => f.write_str("anything"),
        }
    }
}

/// A place in the article, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Finding {
    pub(super) problem: String,
    /// The sentence, paragraph, heading or link, shortened; empty if it is the whole article.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) text: String,
    /// What it cites.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cites: Vec<u32>,
}

impl Finding {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        let problem = problem.into();
        let problem = shortened_to(PROBLEM_CHARS, &problem);
        Self { problem, text: String::new(), cites: Vec::new() }
    }

    pub(super) fn at(problem: impl Into<String>, text: &str) -> Self {
        Self { text: shortened(text), ..Self::new(problem) }
    }

    pub(super) fn citing(problem: impl Into<String>, text: &str, cites: &[u32]) -> Self {
        let cites = cites.iter().copied().take(SHOWN_CITES).collect();
        Self { cites, ..Self::at(problem, text) }
    }
}

impl Check {
    pub(super) fn new(name: &'static str, weight: f64, value: f64, threshold: Threshold) -> Self {
        // Rounded first, so that the value that is shown is the value that was judged.
        let value = (value * 10_000.0).round() / 10_000.0;
        let passed = threshold.holds(value);
        Self {
            name,
            value,
            threshold,
            weight,
            required: false,
            passed,
            findings: Vec::new(),
            findings_total: 0,
        }
    }

    pub(super) fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) fn with(self, mut findings: Vec<Finding>) -> Self {
        let findings_total = findings.len();
        findings.truncate(SHOWN_FINDINGS);
        Self { findings, findings_total, ..self }
    }
}

/// What all checks come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Verdict {
    /// The weight of the checks that passed, as a share of all: 0 to 1.
    pub(super) score: f64,
    pub(super) min_score: f64,
    /// The score is reached, and no required check failed.
    pub(super) passed: bool,
    /// What failed and where, for whoever writes the next draft; empty if it passed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
}

impl Verdict {
    pub(super) fn of(checks: &[Check], min_score: f64) -> Self {
        let whole: f64 = checks.iter().map(|check| check.weight).sum();
        let reached: f64 = checks.iter().map(|check| if check.passed { check.weight } else { 0.0 }).sum();
        let score = (reached / whole.max(f64::MIN_POSITIVE) * 10_000.0).round() / 10_000.0;
        let passed = score >= min_score && checks.iter().all(|check| check.passed || !check.required);
        let reason = if passed { String::new() } else { reason(checks, score, min_score) };
        Self { score, min_score, passed, reason }
    }
}

fn reason(checks: &[Check], score: f64, min_score: f64) -> String {
    let mut reason = format!("score {score} (at least {min_score})");
    for check in checks.iter().filter(|check| !check.passed) {
        let required = if check.required { ", required" } else { "" };
        // Infallible: a string takes everything.
        let _ = write!(reason, "; {} is {} ({}{required})", check.name, check.value, check.threshold);
        for finding in check.findings.iter().take(QUOTED_FINDINGS) {
            let _ = write!(reason, "\n- {}", finding.problem);
            if !finding.text.is_empty() {
                let _ = write!(reason, ": {:?}", finding.text);
            }
        }
    }
    if reason.len() > MAX_REASON_BYTES {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES - ELLIPSIS.len()));
        reason.push_str(ELLIPSIS);
    }
    reason
}

/// What follows when an article does not pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Gate {
    /// The report says so, and the job goes on.
    #[default]
    Report,
    /// The job goes back to the writer, and fails when that was of no use.
    Rework,
    /// The job fails: the same article would fail again.
    Fail,
}

impl Gate {
    /// The report on a draft as the stage's output, or the failure of the job. The drafts are counted from 1; the job can
    /// go back unless this was the last round that it may have.
    pub(super) fn output(
        self,
        report: &impl Serialize,
        verdict: &Verdict,
        draft: u32,
        can_go_back: bool,
    ) -> Result<StageOutput, StageError> {
        let output = StageOutput::new(report)?;
        let rework = match self {
            Self::Report => None,
            Self::Rework | Self::Fail if verdict.passed => None,
            Self::Rework if can_go_back => {
                Some(Rework { to: WRITER.to_owned(), reason: verdict.reason.clone() })
            }
            Self::Rework | Self::Fail => {
                let message = format!("draft {draft} of the article does not pass: {}", verdict.reason);
                return Err(StageError::permanent(message));
            }
        };
        Ok(StageOutput { rework, ..output })
    }

    /// What follows when there is nothing to judge: a report that says so, if reports are all that is wanted.
    pub(super) fn without_article(
        self,
        kind: &'static str,
        round: u32,
        min_score: f64,
        error: StageError,
    ) -> Result<StageOutput, StageError> {
        match self {
            Self::Report => {
                let reason = error.message;
                StageOutput::new(&Unjudged { kind, round, min_score, passed: false, reason, checks: [] })
            }
            Self::Rework | Self::Fail => Err(error),
        }
    }
}

/// The report of a stage that has found nothing to judge: without a score.
#[derive(Debug, Serialize)]
struct Unjudged {
    kind: &'static str,
    round: u32,
    min_score: f64,
    passed: bool,
    reason: String,
    checks: [Check; 0],
}

/// Runs what takes the processor for a while where nobody waits for it.
pub(super) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result),
        Err(error) => match error.try_into_panic() {
            // The runner counts it as the stage's own.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StageError::new(ErrorClass::Released, "the process ends")),
        },
    }
}

/// The text, or its beginning with an ellipsis.
pub(super) fn shortened(text: &str) -> String {
    shortened_to(SHOWN_CHARS, text)
}

/// The text, or its beginning of at most so many characters with an ellipsis.
pub(super) fn shortened_to(n_chars: usize, text: &str) -> String {
    match text.char_indices().nth(n_chars) {
        None => text.to_owned(),
        Some((end, _)) => {
            let start = &text[..end];
            let words = start.rfind(char::is_whitespace).map_or(start, |space| &start[..space]);
            format!("{}{ELLIPSIS}", words.trim_end())
        }
    }
}

/// `part` of `whole`, or `otherwise` if there is nothing to share.
pub(super) fn share(part: usize, whole: usize, otherwise: f64) -> f64 {
    if whole == 0 { otherwise } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_the_weight_that_passed() {
        let check =
            |weight, passed| Check::new("c", weight, if passed { 1.0 } else { 0.0 }, Threshold::min(1.0));
        for (checks, min_score, expected) in [
            (vec![check(3.0, true), check(1.0, false)], 0.75, (0.75, true)),
            (vec![check(3.0, true), check(1.0, false)], 0.76, (0.75, false)),
            (vec![check(3.0, true), check(1.0, false).required()], 0.5, (0.75, false)),
            (vec![], 0.5, (0.0, false)),
        ] {
            let verdict = Verdict::of(&checks, min_score);
            assert_eq!((verdict.score, verdict.passed), expected);
            assert_eq!(verdict.reason.is_empty(), verdict.passed);
        }
    }

    #[test]
    fn thresholds_include_their_ends() {
        for (threshold, value, expected) in [
            (Threshold::min(0.5), 0.5, true),
            (Threshold::min(0.5), 0.499_96, true),
            (Threshold::min(0.5), 0.4999, false),
            (Threshold::max(3.0), 3.0, true),
            (Threshold::max(3.0), 3.1, false),
            (Threshold::between(30.0, 60.0), 29.0, false),
            (Threshold::between(30.0, 60.0), 60.0, true),
            (Threshold::between(30.0, 60.0), 61.0, false),
        ] {
            assert_eq!(Check::new("c", 1.0, value, threshold).passed, expected, "{value}: {threshold}");
        }
    }

    #[test]
    fn a_reason_names_what_failed_and_where() {
        let findings = (0..30).map(|n| Finding::at(format!("problem {n}"), &"word ".repeat(100))).collect();
        let check = Check::new("grounding", 1.0, 0.3, Threshold::min(0.65)).required().with(findings);
        assert_eq!((check.findings.len(), check.findings_total), (20, 30));
        let verdict = Verdict::of(&[check], 0.8);
        assert!(verdict.reason.starts_with(
            "score 0 (at least 0.8); grounding is 0.3 (at least 0.65, required)\n- problem 0: \"word word"
        ));
        assert!(verdict.reason.len() < 1_000);
    }

    #[test]
    fn a_reason_is_never_too_long_to_be_kept() {
        let failed = |text: &str| {
            let findings = (0..3).map(|_| Finding::at(text, text)).collect();
            Check::new("c", 1.0, 0.0, Threshold::min(1.0)).with(findings)
        };
        for text in ["x", "ä", "ßo", "語", "a語", "ab語", "🦀", "a🦀", "\u{1}", "word "] {
            let checks = vec![failed(&text.repeat(1_000)); 12];
            let verdict = Verdict::of(&checks, 0.5);
            let n_bytes = verdict.reason.len();
            assert!((MAX_REASON_BYTES - 6..=MAX_REASON_BYTES).contains(&n_bytes), "{text:?}: {n_bytes}");
            assert!(verdict.reason.ends_with(ELLIPSIS));
            let output = Gate::Rework.output(&"report", &verdict, 1, true).unwrap();
            assert_eq!(output.rework.unwrap().reason, verdict.reason);
        }
    }

    #[test]
    fn findings_are_short() {
        let cites: Vec<u32> = (1..=999).collect();
        let finding = Finding::citing("語".repeat(10_000), &"語".repeat(10_000), &cites);
        assert_eq!((finding.problem.chars().count(), finding.text.chars().count()), (501, 161));
        assert_eq!(finding.cites, (1..=20).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_to_judge_is_reported_or_fails() {
        for (gate, is_ok) in [(Gate::Report, true), (Gate::Rework, false), (Gate::Fail, false)] {
            let nothing = gate.without_article("seo", 2, 0.7, StageError::permanent("no article"));
            let expected = r#"{"kind":"seo","round":2,"min_score":0.7,"passed":false,"reason":"no article","checks":[]}"#;
            match nothing {
                Ok(output) if is_ok => assert_eq!((output.json.get(), output.rework), (expected, None)),
                Err(error) if !is_ok => assert_eq!(error, StageError::permanent("no article")),
                other => panic!("{gate:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_gate_decides_what_follows() {
        let verdict = |passed| Verdict { score: 0.5, min_score: 0.5, passed, reason: "thin".to_owned() };
        for (gate, passed, can_go_back, expected) in [
            (Gate::Report, false, true, Ok(None)),
            (Gate::Report, true, true, Ok(None)),
            (Gate::Rework, true, true, Ok(None)),
            (Gate::Rework, true, false, Ok(None)),
            (Gate::Rework, false, true, Ok(Some(("generation", "thin")))),
            (Gate::Rework, false, false, Err("draft 3 of the article does not pass: thin")),
            (Gate::Fail, true, true, Ok(None)),
            (Gate::Fail, false, true, Err("draft 3 of the article does not pass: thin")),
        ] {
            let result = gate.output(&"report", &verdict(passed), 3, can_go_back);
            let result = match &result {
                Ok(output) => Ok(output.rework.as_ref().map(|it| (it.to.as_str(), it.reason.as_str()))),
                Err(error) => {
                    assert_eq!(error.class, ErrorClass::Permanent);
                    Err(error.message.as_str())
                }
            };
            assert_eq!(result, expected, "{gate:?}, {can_go_back}");
        }
    }
}
