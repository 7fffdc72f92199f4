use crate::fetch::site::{Site, answer};
use crate::fetch::{fetch, page, skipped, text};

fn utf_16(text: &str, little: bool) -> Vec<u8> {
    text.encode_utf16()
        .flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() })
        .collect()
}

#[tokio::test]
async fn text_is_read_as_it_was_written() {
    let page_of = |head: &str| format!("{head}<p>Café au lait für zwei Gäste.");
    let latin = |head: &str| encoding_rs::WINDOWS_1252.encode(&page_of(head)).0.into_owned();
    let marked = |mark: &[u8], bytes: Vec<u8>| [mark, &bytes].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("text/html; charset=utf-8", page_of("").into()),
        ("text/html", page_of("").into()),
        ("text/html; charset=windows-1252", latin("")),
        ("text/html; charset=ISO-8859-1", latin("<meta charset=utf-8>")),
        ("text/html", latin("<meta charset=\"windows-1252\">")),
        ("text/html", latin("<meta http-equiv=content-type content='text/html; charset=latin1'>")),
        ("text/html; charset=nonsense", latin("<meta charset=windows-1252>")),
        ("text/html", latin("")),
        ("text/html; charset=windows-1252", marked(b"\xef\xbb\xbf", page_of("").into())),
        ("text/html", marked(b"\xff\xfe", utf_16(&page_of(""), true))),
        ("text/html; charset=utf-8", marked(b"\xfe\xff", utf_16(&page_of(""), false))),
        ("text/html; charset=utf-16le", utf_16(&page_of(""), true)),
        ("text/html; charset=\"UTF-16BE\"", utf_16(&page_of(""), false)),
        ("application/xhtml+xml", latin("<?xml version='1.0' encoding='iso-8859-1'?>")),
        (
            "text/plain; charset=windows-1252",
            encoding_rs::WINDOWS_1252.encode("Café au lait für zwei Gäste.").0.into(),
        ),
        ("text/markdown; charset=utf-8", "Café au lait für zwei Gäste.".into()),
    ];
    for (content_type, body) in cases {
        let site = Site::of(answer("200 OK", &format!("content-type: {content_type}\r\n"), &body)).await;
        let read = text(&page(fetch(&site, "/").await));
        assert_eq!(
            read,
            "Café au lait für zwei Gäste.",
            "{content_type} {:?}",
            String::from_utf8_lossy(&body)
        );
    }
}

#[tokio::test]
async fn what_is_no_text_is_skipped() {
    for (content_type, body, expected) in [
        ("text/html", b"\x7fELF\x02\x01\x01\0\0\0\0".as_slice(), "not text"),
        ("text/plain; charset=utf-8", &[0xff; 100], "not readable as UTF-8"),
        ("application/pdf", b"%PDF-1.7", "`application/pdf`; only HTML"),
        ("image/png", b"<p>Looks like HTML to some.", "`image/png`"),
        ("application/octet-stream", b"<p>Looks like HTML to some.", "only HTML"),
    ] {
        let site = Site::of(answer("200 OK", &format!("content-type: {content_type}\r\n"), body)).await;
        let reason = skipped(fetch(&site, "/").await);
        assert!(reason.contains(expected), "{content_type}: {reason}");
    }
    let site = Site::of(answer("200 OK", "", b"<p>One two three four.")).await;
    assert!(skipped(fetch(&site, "/").await).contains("does not say what it is"));
}
