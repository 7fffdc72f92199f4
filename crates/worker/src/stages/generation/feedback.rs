//! What a writer is told when its draft was sent back.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Characters of one report that are passed on at most.
const MAX_CHARS: usize = 8_000;

/// What a stage that judges articles says; other outputs have another shape.
#[derive(Deserialize)]
struct Report {
    kind: String,
    reason: String,
}

/// The reasons of all reports among the outputs of the last round; empty without any.
pub(super) fn describe(feedback: &[Arc<RawValue>]) -> String {
    let reports = feedback.iter().filter_map(|json| serde_json::from_str::<Report>(json.get()).ok());
    let reasons: Vec<String> = reports
        .filter(|report| !report.reason.is_empty())
        .map(|Report { kind, reason }| {
            format!("Of its {kind}: {}", reason.chars().take(MAX_CHARS).collect::<String>())
        })
        .collect();
    if reasons.is_empty() {
        return String::new();
    }
    format!(
        "An earlier article about this from the same sources was refused. Avoid what was wrong with it:\n\n{}\n",
        reasons.join("\n\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Arc<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap().into()
    }

    #[test]
    fn reasons_are_taken_from_reports_alone() {
        let outputs = [
            json(r#"{"title": "T", "markdown": "M"}"#),
            json(r#"{"kind": "quality", "score": 0.2, "reason": "grounding is 0.2"}"#),
            json(r#"{"kind": "seo", "score": 1, "reason": ""}"#),
            json(r#"{"kind": "seo", "score": 1}"#),
        ];
        let text = describe(&outputs);
        assert!(text.ends_with("wrong with it:\n\nOf its quality: grounding is 0.2\n"), "{text}");
        assert_eq!(describe(&outputs[..1]), "");
    }
}
