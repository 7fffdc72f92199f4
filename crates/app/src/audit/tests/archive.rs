//! A log that jobs have left.

use quillwork_domain::archive::Run;
use quillwork_domain::chain;
use quillwork_domain::export::Line;
use quillwork_domain::id::{Position, StreamId};
use quillwork_domain::job::Event;
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::wire;

use super::memory::*;
use crate::audit::holes::find_archive;
use crate::audit::{ExportStart, Report, Rule, Scope, verify_export, verify_store};

async fn verify(log: &Memory) -> Report {
    verify_store(log, Scope::Everything, |_, _| {}).await.unwrap()
}

fn verify_lines(lines: &[u8]) -> Report {
    verify_export(lines, ExportStart::default()).unwrap()
}

fn rules(report: &Report) -> Vec<Rule> {
    let mut rules: Vec<Rule> = report.findings.iter().map(|finding| finding.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// Jobs 1 and 3 left, and then job 5; their positions are woven into those of the others.
fn archived() -> (Memory, [Vec<Line>; 2]) {
    let mut log = valid();
    let first = log.archive(&[job(1), job(3)]);
    let second = log.archive(&[job(5)]);
    log.apply(job(9), |_| quillwork_domain::job::Command::Submit(submission(Some("k1"))));
    (log, [first, second])
}

#[tokio::test]
async fn a_log_with_holes_is_intact_and_so_are_its_exports_and_archives() {
    let before = valid().events.len() as u64;
    let (log, archives) = archived();
    assert!(log.runs.len() > 4, "{:?}", log.runs);
    for scope in [Scope::Everything, Scope::Log] {
        let report = verify_store(&log, scope, |_, _| {}).await.unwrap();
        assert_eq!(report.findings, []);
        assert_eq!(report.events + report.archived, before + 3);
        assert!(report.archived > 10);
    }
    let report = verify_lines(&log.export());
    assert_eq!((report.findings, report.jobs), (vec![], 4));
    for archive in archives {
        let report = verify_lines(&write(&archive));
        assert_eq!(report.findings, []);
    }
    assert_eq!(find_archive(&log, Sha256Digest::of(b"no such file")).await.unwrap(), None);
}

#[tokio::test]
async fn holes_that_were_changed_are_found() {
    let (log, _) = archived();
    let n_runs = log.runs.len();
    for index in 0..n_runs {
        let mut other_hash = log.clone();
        other_hash.runs[index].hash = Sha256Digest::of(b"other");
        assert_eq!(rules(&verify(&other_hash).await), [Rule::Hash, Rule::Archive], "{index}");

        let mut gone = log.clone();
        gone.runs.remove(index);
        let found = rules(&verify(&gone).await);
        assert!(found.contains(&Rule::Position) && found.contains(&Rule::Archive), "{index}: {found:?}");
    }
    let mut more = log.clone();
    let last = more.events[0].position;
    more.runs.push(Run { first: last, last, before: Sha256Digest::of(b""), hash: more.events[0].hash });
    more.runs.sort_unstable_by_key(|run| run.last);
    assert_eq!(rules(&verify(&more).await), [Rule::Archive]);
}

#[tokio::test]
async fn jobs_that_were_taken_out_without_an_event_are_missed() {
    let mut log = valid();
    let before = log.clone();
    log.archive(&[job(3)]);
    // The event is taken out again, and the head with it.
    log.events.pop();
    log.head = before.head;
    assert_eq!(rules(&verify(&log).await), [Rule::Archive]);
    assert_eq!(rules(&verify_lines(&log.export())), [Rule::Archive]);
}

#[tokio::test]
async fn archived_events_that_are_there_are_found_in_a_store_and_told_of_an_export() {
    let before = valid();
    let mut log = before.clone();
    log.archive(&[job(3)]);
    log.events.extend(before.events.iter().filter(|event| event.stream.job() == Some(job(3))).cloned());
    log.events.sort_unstable_by_key(|event| event.position);
    log.keys = before.keys.clone();
    log.runs.clear();
    assert_eq!(rules(&verify(&log).await), [Rule::Archive]);
    // As it is if the jobs leave while the export is written.
    let report = verify_lines(&log.export());
    assert_eq!(report.findings, []);
    assert!(report.warnings.iter().any(|warning| warning.contains("while the export")), "{report:?}");
}

#[tokio::test]
async fn the_rest_of_the_log_is_still_protected() {
    let (log, _) = archived();
    for index in 0..log.events.len() {
        let mut changed = log.clone();
        changed.events[index].meta.actor = "somebody else".into();
        assert_eq!(rules(&verify(&changed).await), [Rule::Hash], "{index}");
        let mut missing = log.clone();
        missing.events.remove(index);
        assert!(!verify(&missing).await.ok, "{index}");
    }
    // Rewritten up to a hole, with hashes that fit: nothing behind the hole is linked to them.
    let hole = log.runs.iter().find(|run| log.events.iter().any(|event| event.position.next() == run.first));
    let mut rewritten = log.clone();
    let edge = hole.unwrap().first;
    let last = rewritten.events.iter_mut().find(|event| event.position.next() == edge).unwrap();
    let before = Position(last.position.0 - 1);
    let previous = log.events.iter().find(|event| event.position == before).map(|event| event.hash);
    let previous = previous.or_else(|| log.runs.iter().find(|run| run.last == before).map(|run| run.hash));
    last.meta.actor = "somebody else".into();
    last.hash = chain::link(&previous.unwrap_or(chain::GENESIS), last);
    assert_eq!(rules(&verify(&rewritten).await), [Rule::Hash]);
    assert_eq!(rules(&verify_lines(&rewritten.export())), [Rule::Hash]);
    // Another story of what left.
    let mut retold = log.clone();
    let told = retold.events.iter_mut().find(|event| event.stream == StreamId::Archive).unwrap();
    let Event::Archive(mut story) = wire::decode(told).unwrap() else { unreachable!() };
    story.runs.pop();
    told.data = wire::encode(&Event::Archive(story)).unwrap().data;
    assert_eq!(rules(&verify(&retold).await), [Rule::Hash, Rule::Archive]);
}

#[test]
fn every_change_to_an_archive_is_found() {
    let (_, [archive, _]) = archived();
    assert!(archive.iter().filter(|line| matches!(line, Line::Hole(_))).count() > 3);
    for index in 1..archive.len() {
        let mut missing = archive.clone();
        missing.remove(index);
        assert!(!verify_lines(&write(&missing)).ok, "{index}");
        let mut changed = archive.clone();
        match &mut changed[index] {
            Line::Event(event) => event.data = b"[]".to_vec(),
            Line::Hole(hole) => hole.hash = Sha256Digest::of(b"other"),
            Line::Archive(_) => unreachable!(),
        }
        assert!(!verify_lines(&write(&changed)).ok, "{index}");
    }
    let mut twice = archive.clone();
    twice.push(archive[0].clone());
    assert_eq!(rules(&verify_lines(&write(&twice))), [Rule::Line]);
    // Without its head it is an export of a log whose holes nobody tells of.
    assert!(!verify_lines(&write(&archive[1..])).ok);
}

#[tokio::test]
async fn an_export_that_begins_in_a_hole_is_intact() {
    let (log, _) = archived();
    let export = String::from_utf8(log.export()).unwrap();
    let lines: Vec<&str> = export.lines().collect();
    for skipped in 1..lines.len() {
        let rest = lines[skipped..].join("\n") + "\n";
        assert_eq!(verify_lines(rest.as_bytes()).findings, [], "{skipped}");
    }
}
