//! Amounts of money in requests and answers: decimals, exact to the millionth of a US dollar.

use quillwork_domain::money::Usd;
use serde_json::value::RawValue;

use crate::params::clip;

/// Reads `"0.50"` or `0.50`. The text of a number is read, so that nothing is rounded.
pub(crate) fn read(json: &RawValue) -> Result<Usd, String> {
    let text = json.get();
    let decimal = if text.starts_with('"') { serde_json::from_str::<String>(text).ok() } else { None };
    decimal.as_deref().unwrap_or(text).parse().map_err(|_| {
        format!(
            "expected US dollars such as \"0.50\", at most 1000000 and with at most six digits behind the point, got {}",
            clip(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_numbers_are_read_exactly() {
        let read = |json: &str| read(&RawValue::from_string(json.to_owned()).unwrap());
        for (json, micros) in
            [("\"0.1\"", 100_000), ("0.1", 100_000), ("3", 3_000_000), ("\"\\u0031\"", 1_000_000)]
        {
            assert_eq!(read(json), Ok(Usd(micros)), "{json}");
        }
        for json in ["null", "true", "[]", "-1", "1e3", "\"1 USD\"", "0.0000001", "\"\"", "1000001"] {
            assert!(read(json).unwrap_err().contains("expected US dollars"), "{json}");
        }
    }
}
