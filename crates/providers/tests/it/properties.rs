//! Whatever the files hold: nothing panics, and every quote is in its file.

use proptest::prelude::*;

use crate::library::{Library, write};

fn extension() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("md"), Just("html"), Just("txt"), Just("txt.gz")]
}

/// Text that is thick with what the readers look for.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("The zebra is a striped animal of the plains and lives in herds.".to_owned()),
        Just("A zebra MUST NOT be confused with the Cache-\nControl of other animals.".to_owned()),
        prop::sample::select(vec![
            "\n\n",
            "\n",
            " ",
            "\u{c}\n",
            "# Zebra\n",
            "1.  Zebras\n",
            "[Page 3]\n",
            "<p>",
            "</p>",
            "<h2>",
            "<pre>",
            "</pre>",
            "<br>",
            "&amp;",
            "&lt;",
            "*",
            "**",
            "`",
            "```\n",
            "> ",
            "- ",
            "o  ",
            "[a](b)",
            "<b>",
            "</b>",
            "<nav>",
            "</nav>",
            "<script>",
            "</script>",
            "<!--",
            "-->",
            "|",
            "\r\n",
            "\t",
            "é",
            "—",
            "(",
            ")",
            "\\",
            "[1]",
            "e.g. ",
            "<img>",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z .,]{0,40}",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn run(path: &str, content: &[u8]) {
    let library = Library::empty();
    library.put(path, content);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let findings = runtime.block_on(library.search("zebra animals"));
    assert!(!findings.skipped.iter().any(|it| it.reason.contains("reader failed")), "{findings:?}");
    if let Ok(article) = runtime.block_on(write("zebra animals", &findings)) {
        library.check(&article);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(content in prop::collection::vec(any::<u8>(), 0..2000), extension in extension()) {
        run(&format!("zebra.{extension}"), &content);
    }

    #[test]
    fn every_quote_is_in_its_file(content in soup(), extension in extension()) {
        run(&format!("zebra.{extension}"), content.as_bytes());
    }
}
