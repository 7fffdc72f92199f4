//! What the layers make of each other, and what they say of mistakes.

use std::time::Duration;

use super::*;

fn load_text(text: &str, variables: &[(&str, &str)], overrides: &Overrides) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.toml");
    std::fs::write(&path, text).unwrap();
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    load(Some(&path), variables, overrides)
        .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = "listen = '127.0.0.1:1'\nlease = '1s'\n[limits]\nmax_batch = 1\nmax_pending = 5\n";
    let variables = [
        ("QUILLWORK_LISTEN", "127.0.0.1:2"),
        ("QUILLWORK_LIMITS__MAX_BATCH", "2"),
        ("QUILLWORK_LEASE", ""),
        ("HOME", "/"),
    ];
    let flags = vec![("--listen", "listen".into(), "127.0.0.1:3".to_owned())];
    let config = load_text(file, &variables, &flags).unwrap();
    assert_eq!(config.settings.listen.port(), 3);
    assert_eq!(config.settings.limits.max_batch, 2);
    assert_eq!(config.settings.limits.max_pending, 5);
    assert_eq!(config.settings.limits.max_backlog, 1_000_000);
    assert_eq!(config.values["listen"].1, Origin::Flag("--listen"));
    assert_eq!(config.values["limits.max_batch"].1, Origin::Variable("QUILLWORK_LIMITS__MAX_BATCH".into()));
    assert!(matches!(config.values["lease"].1, Origin::File(_)));
    assert_eq!(config.values["data_dir"].1, Origin::Default);
}

#[test]
fn tables_are_merged_and_lists_replaced() {
    let file = "[stages.research]\nconcurrency = 9\n[pipelines.article]\nstages = ['research']\n\
                [pipelines.own]\nstages = [{ handler = 'echo', max_attempts = 7 }]\n";
    let config =
        load_text(file, &[("QUILLWORK_PIPELINES__TWO__STAGES", "['echo', 'echo']")], &vec![]).unwrap();
    let plans = config.settings.plans().unwrap();
    assert_eq!(plans.keys().collect::<Vec<_>>(), ["article", "echo", "own", "two"]);
    assert_eq!(plans["article"].len(), 1);
    assert_eq!(plans["own"].stages()[0].max_attempts, 7);
    assert_eq!(config.settings.stages["research"].concurrency, Some(9));
    assert_eq!(config.settings.stages["echo"].concurrency, Some(768));
}

#[test]
fn text_that_looks_like_a_number_may_be_text() {
    let config = load_text("", &[("QUILLWORK_DATA_DIR", "2026")], &vec![]).unwrap();
    assert_eq!(config.settings.data_dir, Path::new("2026"));
}

/// A file, variables, and what the error must say.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let cases: [Case; 25] = [
        ("lissten = 1", &[], &["q.toml:1: lissten: unknown field `lissten`", "`listen`"]),
        ("\n\n[limits]\nmax_batch = 'x'", &[], &["q.toml:4: limits.max_batch:", "\"x\""]),
        ("[limits]\nmax_batch = 0", &[], &["q.toml:2: limits.max_batch: expected at least 1, got 0"]),
        ("[limits]\nmax = 0", &[], &["q.toml:2: limits.max: unknown field `max`", "`max_batch`"]),
        ("lease = '5 parsecs'", &[], &["q.toml:1: lease: expected a duration", "5 parsecs"]),
        ("lease = ", &[], &["q.toml:1: "]),
        ("listen = 'here'", &[], &["q.toml:1: listen: expected an IP address", "\"here\""]),
        ("log_format = 'xml'", &[], &["log_format: unknown variant `xml`, expected `json` or `text`"]),
        ("log = 'inof'", &[], &["log: ", "accepted: off, error"]),
        ("store = 'mysql://u:secret@h/d'", &[], &["store: accepted: \"sqlite\"", "postgres://"]),
        (
            "default_pipeline = 'nope'",
            &[],
            &["q.toml:1: default_pipeline: there is no pipeline", "article, echo"],
        ),
        (
            "\n[pipelines.a]\nstages = ['ecko']",
            &[],
            &["q.toml:3: pipelines.a.stages: there is no handler", "mean echo"],
        ),
        (
            "[stages.ecko]\nconcurrency = 1",
            &[],
            &["q.toml:2: stages.ecko.concurrency: there is no handler", "mean echo"],
        ),
        ("\nredis = 'localhost:secret'", &[], &["q.toml:2: redis: expected redis://"]),
        ("", &[("QUILLWORK_REDIS", "http://:secret@h")], &["QUILLWORK_REDIS: redis: expected redis://"]),
        (
            "[stages.echo]\nrate = '60/minute'",
            &[],
            &["q.toml:2: stages.echo.rate: expected a rate such as 5/s, 60/min", "60/minute"],
        ),
        ("[stages.echo]\nrate = '20000/s'", &[], &["q.toml:2: stages.echo.rate: at most 10000 per second"]),
        ("[stages.echo]\n\nburst = 3", &[], &["q.toml:3: stages.echo.burst: there is no rate"]),
        (
            "[pipelines.a]\nstages = []",
            &[],
            &["q.toml:2: pipelines.a.stages: a plan needs at least one stage"],
        ),
        (
            "[pipelines.a]\nstages = ['echo', ['echo', {handler='echo', x=1}]]",
            &[],
            &["q.toml:2: pipelines.a.stages[1][1]", "`x`"],
        ),
        ("[pipelines.a]\nstages = ['echo', []]", &[], &["q.toml:2: pipelines.a.stages[1]", "at least one"]),
        ("[pipelines.a]\nstages = [[['echo']]]", &[], &["q.toml:2: pipelines.a.stages[0][0]", "a table"]),
        ("[pipelines.a]\nstages = [{handler='echo', x=1}]", &[], &["q.toml:2: pipelines.a.stages[0]", "`x`"]),
        (
            "",
            &[("QUILLWORK_LISSTEN", "x")],
            &["QUILLWORK_LISSTEN: there is no such setting; did you mean QUILLWORK_LISTEN?"],
        ),
        (
            "",
            &[("QUILLWORK_LIMITS__MAX_BATCH", "-1")],
            &["environment variable QUILLWORK_LIMITS__MAX_BATCH: limits.max_batch", "-1"],
        ),
    ];
    for (file, variables, expected) in cases {
        let error = load_text(file, variables, &vec![]).unwrap_err();
        for part in expected {
            assert!(error.contains(part), "{error}\nlacks {part}");
        }
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_password_is_not_shown() {
    for (url, shown) in [
        ("postgres://u:secret@h:5432/d?sslmode=require", "postgres://u:***@h:5432/d?sslmode=require"),
        ("redis://:sec@ret@h", "redis://:***@h"),
        ("postgres://u@h/d", "postgres://u@h/d"),
        ("postgres://h/d?user=a&password=secret&x=1", "postgres://h/d?user=a&password=***&x=1"),
        ("postgres://u:s@h/d?sslpassword=secret", "postgres://u:***@h/d?sslpassword=***"),
        ("https://h/s?q=a&key=secret&n=1", "https://h/s?q=a&key=***&n=1"),
        ("https://h/?token=secret&api_key=secret", "https://h/?token=***&api_key=***"),
        ("https://h/?apikey=secret&access_token=secret=", "https://h/?apikey=***&access_token=***"),
        ("https://h?X-Amz-Signature=secret&sig=secret", "https://h?X-Amz-Signature=***&sig=***"),
        ("https://h?client_secret=secret&AUTH=secret", "https://h?client_secret=***&AUTH=***"),
        ("https://h/token?format=json", "https://h/token?format=json"),
        ("info,quillwork_api=debug", "info,quillwork_api=debug"),
    ] {
        assert_eq!(show_value(&Value::String(url.to_owned())).as_str(), Some(shown));
    }
}

#[test]
fn a_rate_keeps_what_else_is_known_of_its_handler() {
    let variables = [("QUILLWORK_STAGES__ECHO__BURST", "7")];
    let config = load_text("[stages.echo]\nrate = '60/min'", &variables, &vec![]).unwrap();
    let echo = &config.settings.stages["echo"];
    assert_eq!((echo.concurrency, echo.burst), (Some(768), Some(7)));
    let rate = Frequency::rate(echo.rate, echo.burst).unwrap().unwrap();
    assert_eq!((rate.interval_micros(), rate.burst()), (1_000_000, 7));
    assert_eq!(Frequency::rate(config.settings.stages["research"].rate, None), Ok(None));
}

#[test]
fn the_password_of_redis_is_not_shown() {
    let config = load_text("redis = 'rediss://me:hunter2@r.example/3'", &[], &vec![]).unwrap();
    assert_eq!(config.values["redis"].0.as_str(), Some("rediss://***@r.example:6379/3"));
    let written = serde_json::to_string(&config.settings).unwrap();
    assert!(written.contains("rediss://***@r.example:6379/3"), "{written}");
    for text in [written, format!("{config:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_named_file_must_exist() {
    let error = load(Some(Path::new("/nonexistent/q.toml")), [], &vec![]).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/q.toml"));
}

#[test]
fn the_parts_of_a_service_may_stand_in_different_layers() {
    const SECRET: &str = "what-only-two-of-us-know";
    let file = "[stages.summarise]\nconcurrency = 2\nhttp = { url = 'https://summarise.internal/run' }\n\
                [pipelines.own]\nstages = ['research', 'summarise']\n";
    let variables = [
        ("QUILLWORK_STAGES__SUMMARISE__HTTP__SECRET", SECRET),
        ("QUILLWORK_STAGES__SUMMARISE__HTTP__TIMEOUT", "5s"),
    ];
    let config = load_text(file, &variables, &vec![]).unwrap();
    let http = config.settings.stages["summarise"].http.as_ref().unwrap();
    let endpoint = http.endpoint("summarise").unwrap();
    assert_eq!(endpoint.url.as_str(), "https://summarise.internal/run");
    assert_eq!((endpoint.secret.n_bytes(), endpoint.timeout), (SECRET.len(), Some(Duration::from_secs(5))));
    assert!(!format!("{config:?}").contains(SECRET), "{config:?}");
    assert_eq!(config.values["stages.summarise.http.secret"].0.as_str(), Some("***"));
}

#[test]
fn a_service_that_cannot_be_is_named_with_its_place() {
    let cases: [Case; 6] = [
        (
            "[stages.own]\nhttp = { url = 'http://h' }",
            &[],
            &["q.toml: stages.own.http.secret: expected", "QUILLWORK_STAGES__OWN__HTTP__SECRET"],
        ),
        (
            "",
            &[("QUILLWORK_STAGES__OWN__HTTP__SECRET", "secret-secret-secret")],
            &["QUILLWORK_STAGES__OWN__HTTP__SECRET: stages.own.http.url: expected the address"],
        ),
        (
            "[stages.echo]\nhttp = { url = 'http://h', secret = 'secret-secret-secret' }",
            &[],
            &["q.toml:2: stages.echo.http.url: the handler \"echo\" is built in"],
        ),
        (
            "[stages.own]\n[stages.own.http]\nurl = 'http://h'\nsecret = 'secret'",
            &[],
            &["q.toml:4: stages.own.http.secret: expected at least 16 bytes"],
        ),
        (
            "[stages.own]\nhttp = { url = 'http://h', secret = 77001 }",
            &[],
            &["q.toml:2: stages.own.http.secret: expected a text in quotes"],
        ),
        (
            "[stages.own]\nhttp = { uri = 'http://h' }",
            &[],
            &["q.toml:2: stages.own.http.uri: unknown field `uri`"],
        ),
    ];
    for (file, variables, expected) in cases {
        let error = load_text(file, variables, &vec![]).unwrap_err();
        for part in expected {
            assert!(error.contains(part), "{error}\nlacks {part}");
        }
        assert!(!error.contains("secret-secret") && !error.contains("77001"), "{error}");
    }
}
