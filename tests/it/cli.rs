//! The command line: exit codes, audits and rebuilds.

use std::fs;
use std::path::Path;

use quillwork_tests::server::{Server, command, run, text};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

fn with_dir<'a>(args: &[&'a str], dir: &'a Path) -> Vec<&'a str> {
    [args, &["--data-dir", dir.to_str().unwrap()]].concat()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("q.toml");
    let config = |contents: &str| {
        fs::write(&config, contents).unwrap();
        run(&["config", "check", "--config", config.to_str().unwrap()])
    };
    let cases = [
        (run(&["nonsense"]), 2, "nonsense"),
        (run(&["job", "get", "not-an-id", "--server", "http://127.0.0.1:9"]), 2, "not-an-id"),
        (config("limits = { max_batches = 3 }"), 2, "max_batches"),
        (config("listen = 7"), 2, "listen"),
        (config("lease = \"soon\""), 2, "lease"),
        (config("this is no TOML"), 2, "q.toml"),
        (config("lease = \"5s\""), 0, ""),
        (
            run(&["run", "a topic", "--pipeline", "nonsense", "--data-dir", dir.path().to_str().unwrap()]),
            2,
            "article",
        ),
    ];
    for (output, code, said) in cases {
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(said), "{said} is not in: {stderr}");
    }
    let unknown = command(&["config", "check"]).env("QUILLWORK_LISSTEN", "x").output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("QUILLWORK_LISTEN"), "{}", text(&unknown.stderr));
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(&with_dir(&["run", "idempotency keys"], dir.path()));
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let whole = run(&with_dir(&["audit", "verify"], dir.path()));
    assert!(whole.status.success(), "{}{}", text(&whole.stdout), text(&whole.stderr));

    let path = dir.path().join("log.db");
    let mut bytes = fs::read(&path).unwrap();
    let topic = br#""topic":"idempotency keys""#;
    // Pages keep stale copies in their free space: one of these is the row.
    let copies: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(topic)).collect();
    assert!(!copies.is_empty());
    copies.iter().for_each(|at| bytes[at + 10] ^= 1);
    fs::write(&path, bytes).unwrap();
    let damaged = run(&with_dir(&["audit", "verify", "--json"], dir.path()));
    assert_eq!(damaged.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&damaged.stdout).unwrap();
    assert_eq!(report["findings"][0]["position"], 1, "{report}");
}

#[test]
fn an_outsider_can_verify_an_export_with_the_documented_formula() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(&with_dir(&["run", "how retries work"], dir.path())).status.success());
    let export = dir.path().join("log.ndjson");
    let exported = run(&with_dir(&["audit", "export", "--out", export.to_str().unwrap()], dir.path()));
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let mut previous = "0".repeat(64);
    let lines = fs::read_to_string(&export).unwrap();
    // Submitted, four stages started and completed, completed.
    assert_eq!(lines.lines().count(), 10);
    for line in lines.lines() {
        let (_, data) = line.split_once(r#","data":"#).unwrap();
        let data = data.strip_suffix('}').unwrap();
        let event: Value = serde_json::from_str(line).unwrap();
        let member = |name: &str| {
            let member = &event[name];
            let text = if member.is_null() { Some("") } else { member.as_str() };
            text.map_or_else(|| member.to_string(), str::to_owned)
        };
        let members = [
            "position",
            "stream",
            "version",
            "id",
            "kind",
            "schema_version",
            "recorded_at",
            "actor",
            "tenant",
            "correlation_id",
            "causation_id",
            "traceparent",
        ];
        let hashed = [vec![previous], members.map(member).to_vec(), vec![hex(data)]].concat().join("\n");
        previous = hex(hashed);
        assert_eq!(previous, event["hash"], "{line}");
    }
    let again = run(&["audit", "verify", "--export", export.to_str().unwrap()]);
    assert!(again.status.success(), "{}", text(&again.stderr));
}

#[tokio::test]
async fn what_is_rebuilt_equals_what_was() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut ids = Vec::new();
    for settings in
        [json!({}), json!({"fail_attempts": 1, "fail_class": "permanent"}), json!({"bytes": 100_000})]
    {
        ids.push(server.submit_echo(settings).await);
    }
    let hanging = server.submit_echo(json!({"hang": true})).await;
    let scheduled =
        json!({"topic": "later", "pipeline": "echo", "run_at": "2999-01-01T00:00:00Z", "labels": {"a": "b"}});
    server.submit(scheduled).await;
    for id in &ids {
        server.ended(id).await;
    }
    server.post(&format!("/v1/jobs/{hanging}/cancel"), json!({})).await;
    server.ended(&hanging).await;
    assert_eq!(server.terminate(), Some(0));

    let all = async |server: &Server| {
        (
            server.get("/v1/jobs").await,
            server.get("/v1/stats").await,
            server.get(&format!("/v1/jobs/{}/timeline", ids[1])).await,
        )
    };
    let server = Server::start(dir.path(), &[]);
    let before = all(&server).await;
    assert_eq!(before.0["items"].as_array().unwrap().len(), 5);
    assert_eq!(server.terminate(), Some(0));
    let rebuilt = run(&with_dir(&["rebuild"], dir.path()));
    assert!(rebuilt.status.success(), "{}", text(&rebuilt.stderr));
    let server = Server::start(dir.path(), &[]);
    assert_eq!(all(&server).await, before);
    assert_eq!(server.terminate(), Some(0));
    let audit = run(&with_dir(&["audit", "verify"], dir.path()));
    assert!(audit.status.success(), "{}{}", text(&audit.stdout), text(&audit.stderr));
}

#[tokio::test]
async fn jobs_are_steered_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let job = |args: &[&str]| {
        let output = run(&[&["job"], args, &["--server", &server.url, "--json"]].concat());
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default())
    };
    let (code, done) = job(&["submit", "crash recovery", "--wait", "--label", "team=docs"]);
    assert_eq!((code, done["status"].as_str()), (Some(0), Some("completed")), "{done}");
    let id = done["id"].as_str().unwrap();
    assert_eq!(job(&["get", id]).1["labels"]["team"], "docs");
    let result = job(&["result", id]).1;
    assert!(result["markdown"].as_str().unwrap().contains("## Sources"), "{result}");
    let (code, _) = job(&["cancel", id]);
    assert_eq!(code, Some(1), "a completed job cannot be cancelled");
    let down = run(&["job", "get", id, "--server", "http://127.0.0.1:9"]);
    assert_eq!(down.status.code(), Some(3));
    assert!(text(&down.stderr).contains("quillwork up"), "{}", text(&down.stderr));
}
