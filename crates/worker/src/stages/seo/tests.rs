use quillwork_app::ports::search::Location;
use quillwork_app::ports::writer::CitedSource;

use super::*;

const TITLE: &str = "How leases keep workers from colliding";

const GOOD: &str = "# How leases keep workers from colliding\n\nA lease is a promise that ends by itself, so that a worker \
    that dies gives its task back. It is renewed while the worker lives. [1]\n\n## Renewal\n\nWorkers renew what they \
    hold after a third of the time, as [the manual](https://example.org/leases) explains. [1]\n\n![A lease \
    ends](lease.png)\n\n### After a pause\n\nWhoever was stopped for too long is refused, and nothing that it writes \
    comes into the log; others have begun anew by then, with the next attempt and its number. This goes for all of \
    them, however long ago that was, and whatever their clocks may say about it in the meantime.\n\n## Sources\n\n1. \
    The manual — <https://example.org/leases>\n";

fn report(title: &str, markdown: &str, settings: &Settings) -> Report {
    let source = |n: u32, location| CitedSource {
        n,
        title: format!("Source {n}"),
        location,
        lines: vec![],
        quotes: vec![],
    };
    let article = Article {
        title: title.into(),
        markdown: markdown.into(),
        sources: vec![
            source(1, Location::Url("https://example.org/leases".into())),
            source(2, Location::Path("leases.md".into())),
        ],
        method: "llm".into(),
        model: None,
        usage: None,
        provider: None,
        prompt: None,
        degraded: None,
    };
    assess(1, "leases of workers", &article, settings)
}

fn failed(report: &Report) -> Vec<(&'static str, f64)> {
    report.checks.iter().filter(|check| !check.passed).map(|check| (check.name, check.value)).collect()
}

#[test]
fn a_good_page_passes_everything() {
    let report = report(TITLE, GOOD, &Settings { max_keyword_density: 0.05, ..Settings::default() });
    assert_eq!(failed(&report), []);
    assert_eq!((report.verdict.score, report.verdict.passed), (1.0, true));
}

#[test]
fn each_fault_is_told_by_its_check() {
    let settings = || Settings { max_keyword_density: 0.05, ..Settings::default() };
    let long = "other ".repeat(151);
    for (fault, title, markdown, expected) in [
        (
            "no h1",
            TITLE,
            GOOD.replace("# How", "## How"),
            vec![("h1", 0.0), ("heading_order", 1.0), ("keyword_in_h1", 0.0)],
        ),
        (
            "two h1",
            TITLE,
            GOOD.replace("## Renewal", "# Renewal"),
            vec![("h1", 2.0), ("h2", 1.0), ("heading_order", 1.0)],
        ),
        ("one h2", TITLE, GOOD.replace("## Renewal\n", ""), vec![("h2", 1.0), ("heading_order", 1.0)]),
        ("a level skipped", TITLE, GOOD.replace("### After", "#### After"), vec![("heading_order", 1.0)]),
        ("a short title", "Leases of workers", GOOD.to_owned(), vec![("title_chars", 17.0)]),
        (
            "no alt text",
            TITLE,
            GOOD.replace("![A lease \n", "![").replace("![A lease ends]", "![]"),
            vec![("alt_texts", 0.0)],
        ),
        (
            "no links",
            TITLE,
            GOOD.replace("https://example.org/leases", "#leases").replace("<#leases>", ""),
            vec![("external_links", 0.0)],
        ),
        (
            "a long paragraph",
            TITLE,
            GOOD.replace("Whoever", &format!("{long}Whoever")),
            vec![("paragraph_words", 203.0)],
        ),
        (
            "a short first paragraph",
            TITLE,
            GOOD.replace(
                "# How leases keep workers from colliding",
                "# How leases keep workers from colliding\n\nLeases.\n",
            ),
            vec![("description_chars", 7.0)],
        ),
    ] {
        assert_eq!(failed(&report(title, &markdown, &settings())), expected, "{fault}");
    }
}

#[test]
fn a_keyword_should_stand_early_and_not_too_often() {
    let keyword = |keyword: &str| Settings { keyword: Some(keyword.to_owned()), ..Settings::default() };
    let report_of = |settings: &Settings| failed(&report(TITLE, GOOD, settings));
    assert_eq!(
        report_of(&keyword("fencing tokens")),
        [("keyword_in_title", 0.0), ("keyword_in_h1", 0.0), ("keyword_in_opening", 0.0)]
    );
    let stuffed = GOOD.replace("that ends", "lease lease lease that ends");
    let report = report(TITLE, &stuffed, &keyword("lease"));
    let density = report.checks.iter().find(|check| check.name == "keyword_density").unwrap();
    assert!(!density.passed && density.value > 0.03);
    assert_eq!(density.findings[0].problem, "words with the stem leas stand there 6 times");
}

#[test]
fn a_page_gets_its_metadata() {
    let report = report(TITLE, GOOD, &Settings::default());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["slug"], "how-leases-keep-workers-from-colliding");
    let description = "A lease is a promise that ends by itself, so that a worker that dies gives its task back. It is \
                       renewed while the worker lives.";
    assert_eq!(json["description"], description);
    assert_eq!(
        serde_json::to_string(&report.json_ld).unwrap(),
        format!(
            "{{\"@context\":\"https://schema.org\",\"@type\":\"Article\",\"headline\":\"{TITLE}\",\"description\":\
             \"{description}\",\"keywords\":\"leases of workers\",\"wordCount\":110,\"citation\":[{{\"@type\":\
             \"CreativeWork\",\"position\":1,\"name\":\"Source 1\",\"url\":\"https://example.org/leases\"}},{{\"@type\":\
             \"CreativeWork\",\"position\":2,\"name\":\"Source 2\",\"identifier\":\"leases.md\"}}]}}"
        )
    );
    assert!(json.get("markdown").is_none());
}

#[test]
fn settings_are_checked() {
    for (json, expected) in [
        ("{}", None),
        (r#"{"gate": "rework", "max_rounds": 5}"#, None),
        (r#"{"max_rounds": 6}"#, Some("max_rounds: expected 1 to 5, got 6")),
        (r#"{"gate": "fail", "keyword": "leases", "min_h2": 0}"#, None),
        (r#"{"max_keyword_density": 3}"#, Some("max_keyword_density: expected 0 to 1, got 3")),
        (r#"{"max_paragraph_words": 5}"#, Some("max_paragraph_words: expected 20 to 2000, got 5")),
        (r#"{"keyword": " "}"#, Some("keyword: expected 1 to 200 characters")),
    ] {
        let raw: Box<serde_json::value::RawValue> = serde_json::from_str(json).unwrap();
        let result = crate::stages::check(Settings::check).check(&raw);
        assert_eq!(result.err().as_deref(), expected, "{json}");
    }
}

#[test]
fn a_report_is_short_however_long_the_article_is() {
    let long = "\u{1}語".repeat(50_000);
    let source = |n: u32| CitedSource {
        n,
        title: long[..4_000].to_owned(),
        location: Location::Url(format!("https://example.org/{}", "7".repeat(10 * n as usize))),
        lines: vec![],
        quotes: vec![],
    };
    let markdown =
        format!("# {long}\n\n#### {long}\n\n[ ](https://example.org/{})\n\n{long}\n", "7".repeat(100_000));
    let article = Article {
        title: long.clone(),
        markdown,
        sources: (1..=3_000).map(source).collect(),
        method: "unknown".into(),
        model: None,
        usage: None,
        provider: None,
        prompt: None,
        degraded: None,
    };
    let report = assess(1, "leases", &article, &Settings::default());
    let json = serde_json::to_value(&report).unwrap();
    let citations = json["json_ld"]["citation"].as_array().unwrap();
    assert_eq!((citations.len(), citations.iter().filter(|it| it.get("url").is_some()).count()), (500, 202));
    assert!(json.to_string().len() < 4 * 1024 * 1024, "{} bytes", json.to_string().len());
}
