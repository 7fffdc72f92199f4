use quillwork_app::ports::search::{Findings, Location, Passage, Searched, Source};
use quillwork_app::ports::writer::{Article, CitedSource};
use serde::Deserialize;

use super::*;

/// What research and the extractive writer made of the documentation, for four topics.
const DIGESTS: &str = include_str!("digests.json");

#[derive(Deserialize)]
struct Digest {
    topic: String,
    findings: Findings,
    article: Article,
}

const CACHING: [&str; 2] = [
    "A cache stores responses and answers later requests with them. A stored response is fresh until its age exceeds \
     its freshness lifetime. When a response is stale, the cache validates it with the origin server before it is used \
     again. The request for validation carries the entity tag of the stored response, and the server answers with 304 \
     if nothing has changed.",
    "Caching makes pages load faster, because resources that are requested often need no way to the server. The \
     origin server sets the freshness lifetime with the max-age directive. Without it, a cache may use a heuristic, \
     for example a tenth of the time since the page was modified.",
];

const GOOD: &str = "# Caching\n\nA cache keeps responses and answers later requests from its store [1]. A response is \
    fresh as long as its age has not exceeded its freshness lifetime [1], which the origin server sets with max-age \
    [2]. Stale responses are validated with the origin server: the request carries the entity tag, and the server \
    answers with 304 if nothing has changed. [1]\n\n## Heuristics\n\nIf there is no such directive, caches may use a \
    heuristic, such as a tenth of the time since the page was last modified. [2]\n\n## Sources\n\n1. One\n2. Two\n";

fn findings() -> Findings {
    let source = |(n, text): (u32, &str)| Source {
        n,
        title: format!("Caching, part {n}"),
        location: Location::Path(format!("{n}.md")),
        passages: vec![Passage { heading: "Caching".into(), text: text.into(), lines: [1, 9], score: 1.0 }],
        found_by: vec![],
        sha256: None,
    };
    Findings {
        searched: Searched::default(),
        sources: (1..).zip(CACHING).map(source).collect(),
        skipped: vec![],
        skipped_total: 0,
    }
}

fn article(markdown: &str) -> Article {
    let source = |n: u32| CitedSource {
        n,
        title: format!("Caching, part {n}"),
        location: Location::Path(format!("{n}.md")),
        lines: vec![],
        quotes: vec![],
    };
    Article {
        title: "Caching".into(),
        markdown: markdown.into(),
        sources: vec![source(1), source(2)],
        method: "llm".into(),
        model: Some("small".into()),
        usage: None,
        provider: None,
        prompt: None,
        degraded: None,
    }
}

fn report(markdown: &str) -> Report {
    assess(1, "caching", &article(markdown), &findings(), &Settings::default())
}

fn failed(report: &Report) -> Vec<&'static str> {
    report.checks.iter().filter(|check| !check.passed).map(|check| check.name).collect()
}

#[track_caller]
fn value(report: &Report, name: &str) -> f64 {
    report.checks.iter().find(|check| check.name == name).unwrap().value
}

#[test]
fn digests_of_the_documentation_pass() {
    let digests: Vec<Digest> = serde_json::from_str(DIGESTS).unwrap();
    for Digest { topic, findings, article } in digests {
        let report = assess(1, &topic, &article, &findings, &Settings::default());
        assert!(report.verdict.passed, "{topic}: {}", report.verdict.reason);
        assert!(report.verdict.score >= 0.9, "{topic}: {:?}", failed(&report));
        assert_eq!(value(&report, "grounding"), 1.0, "{topic}");
        assert_eq!(value(&report, "unsupported_facts"), 0.0, "{topic}");
    }
}

#[test]
fn a_paraphrase_passes() {
    let report = report(GOOD);
    assert_eq!(failed(&report), Vec::<&str>::new(), "{}", report.verdict.reason);
    assert_eq!(report.verdict.score, 1.0);
}

/// What a model of 135 million parameters wrote from such passages.
#[test]
fn inventions_of_a_small_model_are_rejected() {
    for (markdown, cites) in [
        (
            "# Caching\n\n[1] In 2014, Google's PageSpeedd website was able to optimize its page loading speed by using a \
             technique called \"caching\" that allows websites with limited resources to cache frequently requested \
             content.\n\n## Sources\n\n1. One\n2. Two\n",
            vec![1],
        ),
        (
            "# Caching\n\n[4] When a request from a client meets the requirements in Section 7 of [5], such as fetching \
             cached data, they are considered fresh again; and so on.\n\n[6] When a request from a client meets the \
             requirements in Section 7 of [5], such as fetching cached data, they are considered fresh \
             again\n\n## Sources\n\n1. One\n2. Two\n",
            vec![4],
        ),
    ] {
        let report = report(markdown);
        assert!(!report.verdict.passed);
        let failed = failed(&report);
        for name in ["grounding", "grounded_sentences"] {
            assert!(failed.contains(&name), "{name} not in {failed:?}");
        }
        let first = report.checks.iter().flat_map(|check| &check.findings).next().unwrap();
        assert!(first.cites.starts_with(&cites), "{first:?}");
    }
    let invented = report("[1] In 2014, Google's PageSpeedd site was faster.\n\n## Sources\n");
    let facts = invented.checks.iter().find(|check| check.name == "unsupported_facts").unwrap();
    assert_eq!(facts.findings[0].problem, "what it cites has no 2014, no Google, no PageSpeedd");
}

#[test]
fn each_fault_is_told_by_its_check() {
    let copied = CACHING.map(str::to_owned).join(" [1]\n\n");
    let last = "last modified. [2]";
    for (fault, markdown, expected) in [
        ("a number", GOOD.replace("304", "412"), vec!["unsupported_facts"]),
        ("a name", GOOD.replace("the cache", "Akamai").replace("caches may", "all Akamai caches may"), vec!["unsupported_facts"]),
        ("a citation of nothing", GOOD.replace("store [1]", "store [3]"), vec!["grounded_sentences", "citations_resolve"]),
        ("another source", GOOD.replace(last, "last modified. [1]"), vec!["grounded_sentences"]),
        ("no citation", GOOD.replace(last, "last modified."), vec!["cited_paragraphs"]),
        ("no end", GOOD.replace(last, "last [2]"), vec!["complete"]),
        ("no sources", GOOD.replace("## Sources", "```\n## Sources"), vec!["complete"]),
        (
            "chatter",
            GOOD.replace("## Heur", "As an AI language model I keep no responses. [1]\n\n## Heur"),
            vec!["grounded_sentences", "unsupported_facts", "chatter"],
        ),
        (
            "twice the same",
            GOOD.replace(last, "last modified. [2]\n\nIf there is no such directive, caches may use a heuristic, such as a tenth of the time since the page was last modified. [2]"),
            vec!["repetition", "near_duplicates"],
        ),
        ("a copy", format!("{copied} [2]\n\n## Sources\n"), vec!["cited_sentences", "copied"]),
        ("long sentences", GOOD.replace(". ", "; ").replace("modified;", "modified."), vec!["readability_grade"]),
        ("too short", "Caches store responses. [1]\n\nOrigin servers set a lifetime. [2]\n\n## Sources\n".to_owned(), vec!["words"]),
    ] {
        let report = report(&markdown);
        assert_eq!(failed(&report), expected, "{fault}: {}", report.verdict.reason);
    }
}

#[test]
fn an_article_without_text_or_citations_fails() {
    for markdown in
        ["", "# Caching\n\n## Sources\n", "A cache stores responses and answers later requests with them."]
    {
        let report = report(markdown);
        assert!(!report.verdict.passed, "{markdown}");
        assert_eq!(value(&report, "grounding"), 0.0);
        assert_eq!(value(&report, "citations_resolve"), 0.0);
    }
}

#[test]
fn a_sentence_rests_on_the_citation_that_follows_it() {
    let (article, findings) = (article("One. Two [1] c. D e.\n\nF g. H.\n\n> Notice."), findings());
    let draft = Draft::new(&article, &findings);
    let cites: Vec<_> =
        draft.claims().iter().map(|it| (it.sentence.text.clone(), it.cites.to_vec())).collect();
    let expected: &[(&str, &[u32])] =
        &[("One.", &[1]), ("Two c.", &[1]), ("D e.", &[1]), ("F g.", &[]), ("H.", &[])];
    let expected: Vec<_> =
        expected.iter().map(|(text, cites)| ((*text).to_owned(), cites.to_vec())).collect();
    assert_eq!(cites, expected);
}

#[test]
fn a_report_is_no_article() {
    let json = serde_json::to_value(report(GOOD)).unwrap();
    assert_eq!(json["kind"], "quality");
    assert_eq!((&json["score"], &json["passed"]), (&1.0.into(), &true.into()));
    assert!(json.get("markdown").is_none());
    let grounding = &json["checks"][0];
    for member in ["name", "value", "threshold", "weight", "required", "passed", "findings", "findings_total"]
    {
        assert!(grounding.get(member).is_some(), "{member}");
    }
    assert_eq!(grounding["threshold"], serde_json::json!({ "min": 0.65 }));
    assert!(serde_json::from_value::<Article>(json).is_err());
}

#[test]
fn settings_are_checked() {
    for (json, expected) in [
        ("{}", None),
        (r#"{"gate": "rework", "max_rounds": 5}"#, None),
        (r#"{"max_rounds": 6}"#, Some("max_rounds: expected 1 to 5, got 6")),
        (r#"{"gate": "fail", "min_score": 1, "min_words": 300, "max_words": 300}"#, None),
        (r#"{"min_grounding": 1.5}"#, Some("min_grounding: expected 0 to 1, got 1.5")),
        (r#"{"max_grade": -1}"#, Some("max_grade: expected 0 to 100, got -1")),
        (r#"{"min_words": 300, "max_words": 200}"#, Some("max_words: expected 300 to 100000, got 200")),
        (r#"{"gate": "maybe"}"#, Some("unknown variant `maybe`")),
        (r#"{"min_beauty": 1}"#, Some("unknown field `min_beauty`")),
    ] {
        let raw: Box<serde_json::value::RawValue> = serde_json::from_str(json).unwrap();
        match (crate::stages::check(Settings::check).check(&raw), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => assert!(error.contains(expected), "{error}"),
            other => panic!("{json}: {other:?}"),
        }
    }
}

#[test]
fn what_a_source_has_may_be_written_otherwise() {
    let mut findings = findings();
    findings.sources[0].passages[0].text =
        "Google served three pages of 10000 bytes from Germany in 4.2 seconds, as told.".into();
    for (claim, expected) in [
        ("Then 3 Pages of 10,000 bytes came from GOOGLE in 4.2 seconds.", None),
        ("Then Microsoft served pages.", Some("no Microsoft")),
        ("Then pages of 10001 bytes came in 4 seconds.", Some("no 10001, no 4")),
        ("Then Caching, part 1, is a title, and Mars is the topic.", None),
        ("Then Google has its pages in Venus.", Some("no Venus")),
    ] {
        let article = article(&format!("{claim} [1]"));
        let report = assess(1, "life on Mars", &article, &findings, &Settings::default());
        let check = report.checks.iter().find(|check| check.name == "unsupported_facts").unwrap();
        let problem = check.findings.first().map(|finding| finding.problem.as_str());
        assert_eq!(problem, expected.map(|facts| format!("what it cites has {facts}")).as_deref(), "{claim}");
    }
}

/// A report must fit into the log whatever the article is like; the runner keeps no reason over 4 KiB.
#[test]
fn a_report_is_short_however_long_the_article_is() {
    let numbers: Vec<String> = (0..100_000).map(|n| format!("7{n:040}")).collect();
    let sentences: Vec<String> =
        (0..10_000).map(|n| format!("It is 7{n:06} and 8{n:06} there [1].")).collect();
    let cites: Vec<String> = (0..1_000).map(|n| format!("[{n}]")).collect();
    for markdown in [
        format!("They are {} [1].", numbers.join(" ")),
        format!("It is {} [1].", "7".repeat(400_000)),
        sentences.join(" "),
        format!("All of them say 1 so {}.", cites.concat()).repeat(100),
        format!("{} [1]", "語".repeat(130_000)),
    ] {
        let report = report(&markdown);
        let n_bytes = serde_json::to_string(&report).unwrap().len();
        assert!(n_bytes < 128 * 1024, "{n_bytes} bytes of report on {:?}", &markdown[..30]);
        assert!(!report.verdict.passed && report.verdict.reason.len() <= crate::runner::MAX_REASON_BYTES);
    }
}

#[test]
fn what_has_no_words_to_compare_is_not_called_ungrounded() {
    let chinese = "# 缓存\n\n缓存存储响应，并且用它们回答以后的请求，就是这样。[1] 响应在有效期内，一直是新鲜的，不需要验证。[2]\n\n## \
                   Sources\n\n1. One\n2. Two\n";
    let both = GOOD
        .replace("## Heuristics", "缓存存储响应，并且用它们回答以后的请求，就是这样。[1]\n\n## Heuristics");
    for (markdown, expected) in [
        (chinese, None),
        (both.as_str(), Some(1.0)),
        (GOOD, Some(1.0)),
        // It could have words.
        ("It is so. [1]", None),
        ("Caches work. [1]", Some(0.0)),
        // And this cites nothing.
        ("缓存存储响应，并且用它们回答以后的请求，就是这样。", Some(0.0)),
    ] {
        let report = report(markdown);
        for name in ["grounding", "grounded_sentences"] {
            let check = report.checks.iter().find(|check| check.name == name);
            // Of the good article hardly a word is its own.
            assert_eq!(check.map(|check| check.value.round()), expected, "{name}: {markdown}");
        }
    }
    let missing: Vec<&str> =
        report(chinese).checks.iter().filter(|it| it.required && !it.passed).map(|it| it.name).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn an_article_of_a_service_is_judged() {
    let article: Article = serde_json::from_str(r#"{"title": "T", "markdown": "It is so. [1]"}"#).unwrap();
    assert_eq!((article.sources.len(), article.method.as_str()), (0, "unknown"));
    let report = assess(1, "caching", &article, &findings(), &Settings::default());
    assert!(!report.verdict.passed && failed(&report).contains(&"citations_resolve"));
}
