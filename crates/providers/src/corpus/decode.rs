//! Turns the bytes of a file into text, or says why it is none.

use std::io::Read;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;

/// Larger files are skipped, compressed or not.
pub(crate) const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// How much of a page is searched for its `<meta charset>`, as browsers do.
const META_WINDOW: usize = 1024;

/// How much of a file is looked at to tell text from binary data.
const SNIFFED: usize = 8192;

/// Unpacks gzip, within [`LARGEST_FILE`].
///
/// # Errors
/// The reason why the file is skipped.
pub(crate) fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| format!("cannot unpack it: {error}"))?;
    if unpacked.len() as u64 > LARGEST_FILE {
        return Err(too_large());
    }
    Ok(unpacked)
}

/// Decodes by byte order mark, then as `announced`, then by `<meta charset>` if it is HTML, then by what the bytes look
/// like.
///
/// # Errors
/// The reason why the file is skipped.
pub(crate) fn decode(
    bytes: &[u8],
    html: bool,
    announced: Option<&'static Encoding>,
) -> Result<String, String> {
    let (encoding, mark) = match Encoding::for_bom(bytes).or_else(|| Some((announced?, 0))) {
        Some(found) => found,
        None if is_binary(bytes) => return Err("it is not text".to_owned()),
        None => (declared(bytes, html).unwrap_or_else(|| guessed(bytes)), 0),
    };
    let (text, _) = encoding.decode_without_bom_handling(bytes.get(mark..).unwrap_or_default());
    let broken = text.chars().filter(|&c| c == char::REPLACEMENT_CHARACTER || is_control(c)).count();
    if broken * 50 > text.chars().count() {
        return Err(format!("it is not readable as {}", encoding.name()));
    }
    Ok(text.into_owned())
}

pub(crate) fn too_large() -> String {
    format!("it is larger than {} MiB", LARGEST_FILE / 1024 / 1024)
}

/// Text in an encoding without a byte order mark has no zero bytes.
fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(SNIFFED).any(|&byte| byte == 0)
}

fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1b}' | '\u{8}')
}

fn declared(bytes: &[u8], html: bool) -> Option<&'static Encoding> {
    if !html {
        return None;
    }
    let head = String::from_utf8_lossy(bytes.get(..META_WINDOW).unwrap_or(bytes)).to_ascii_lowercase();
    let declaration = head.find("charset=").map(|at| at + "charset=".len());
    // An XML declaration says it with another word.
    let declaration = declaration.or_else(|| head.find("encoding=").map(|at| at + "encoding=".len()))?;
    let label: String = head
        .get(declaration..)?
        .trim_start_matches(['"', '\''])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "-_:".contains(*c))
        .collect();
    Encoding::for_label(label.as_bytes()).map(|encoding| {
        // A page that can declare it in ASCII is not UTF-16.
        if encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE {
            encoding_rs::UTF_8
        } else {
            encoding
        }
    })
}

fn guessed(bytes: &[u8]) -> &'static Encoding {
    if std::str::from_utf8(bytes).is_ok() {
        return encoding_rs::UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Allow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_recognized() {
        assert_eq!(decode("naïve café".as_bytes(), false, None).unwrap(), "naïve café");
        assert_eq!(decode(b"\xef\xbb\xbfplain", false, None).unwrap(), "plain");
        assert_eq!(decode(b"\xff\xfeh\0i\0", false, None).unwrap(), "hi");
        assert_eq!(
            decode(b"<meta charset='iso-8859-2'>\xb1", true, None).unwrap(),
            "<meta charset='iso-8859-2'>ą"
        );
        assert_eq!(
            decode(b"Les \xe9l\xe8ves fran\xe7ais sont arriv\xe9s hier.", false, None).unwrap(),
            "Les élèves français sont arrivés hier."
        );
    }

    #[test]
    fn what_is_announced_counts_more_than_what_is_written_and_less_than_a_mark() {
        let cases: [(&[u8], &str, &str); 4] = [
            (b"<meta charset=utf-8>\xe9", "windows-1252", "<meta charset=utf-8>\u{e9}"),
            (b"\xef\xbb\xbf\xc3\xa9", "windows-1252", "\u{e9}"),
            (b"h\0i\0", "utf-16le", "hi"),
            (b"\0h\0i", "utf-16be", "hi"),
        ];
        for (bytes, label, text) in cases {
            assert_eq!(
                decode(bytes, true, Encoding::for_label(label.as_bytes())).as_deref(),
                Ok(text),
                "{label}"
            );
        }
    }

    #[test]
    fn binary_data_is_no_text() {
        assert!(decode(b"\x7fELF\x02\x01\0\0\0", false, None).is_err());
        assert!(decode(&[1, 2, 3, 4, 5, 6, 7, 200], false, None).is_err());
    }
}
