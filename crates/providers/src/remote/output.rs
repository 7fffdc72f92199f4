//! What a service answered, as the output of its stage.
//!
//! Unlike our own stages it may write anything, and what is in the log must be readable for ever.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The answer without white space between its parts, or why it is none: no JSON, too deep, half a character, a number
/// that is none.
pub(super) fn read(bytes: &[u8]) -> Result<Box<RawValue>, serde_json::Error> {
    let text = std::str::from_utf8(bytes).map_err(serde::de::Error::custom)?;
    serde_json::from_str::<Sound>(text)?;
    serde_json::from_str(&compact(text))
}

/// A value that was read to its end, of which nothing is kept.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Sound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_str<E>(self, _: &str) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_unit<E>(self) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sound, A::Error> {
        while items.next_element::<Sound>()?.is_some() {}
        Ok(Sound)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Sound, A::Error> {
        while members.next_entry::<Sound, Sound>()?.is_some() {}
        Ok(Sound)
    }
}

/// JSON without white space outside of strings.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        if in_string {
            in_string = escaped || *c != '"';
            escaped = !escaped && *c == '\\';
            return true;
        }
        in_string = *c == '"';
        !c.is_ascii_whitespace()
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_dropped_and_values_are_kept() {
        for (json, expected) in [
            (" { \"a b\" :\n[ 1.0, 2e3 ,\"\\\" \\\\\" , null ] }\r\n", r#"{"a b":[1.0,2e3,"\" \\",null]}"#),
            ("\"\"", "\"\""),
            ("12345678901234567890123", "12345678901234567890123"),
            ("[\"\\u0000 é \\ud83d\\ude00\", true, -1]", "[\"\\u0000 é \\ud83d\\ude00\",true,-1]"),
        ] {
            assert_eq!(read(json.as_bytes()).unwrap().get(), expected);
        }
    }

    #[test]
    fn what_could_not_be_read_again_is_refused() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        let cases: [&[u8]; 9] = [
            b"",
            b"<html>",
            b"{\"a\":1",
            b"1 2",
            b"\"\xff\"",
            b"\"\\ud800\"",
            b"[1e999]",
            b"NaN",
            deep.as_bytes(),
        ];
        for bytes in cases {
            assert!(read(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
