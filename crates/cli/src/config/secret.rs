//! What nobody may see: keys that providers gave us.

use quillwork_providers::secret::Secret;
use serde::{Deserialize, Deserializer, Serialize as _, Serializer, de::Error as _};

/// A key. It is printed nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) Secret);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What it is instead is not repeated.
        let text =
            String::deserialize(deserializer).map_err(|_| D::Error::custom("expected a text in quotes"))?;
        if text.is_empty() || text.chars().any(|c| !c.is_ascii_graphic()) {
            // Not repeated: it may be the key with a line break at its end.
            return Err(D::Error::custom("expected a key of printable characters without white space"));
        }
        Ok(Self(Secret::new(&text)))
    }
}

/// In place of the key.
pub(crate) const HIDDEN: &str = "***";

/// Writes that there is a key.
pub(crate) fn shown<S: Serializer>(key: &Option<Key>, serializer: S) -> Result<S::Ok, S::Error> {
    key.as_ref().map(|_| HIDDEN).serialize(serializer)
}

/// True for settings that are secret by their name.
pub(crate) fn is_secret(key: &str) -> bool {
    key.rsplit('.').next().is_some_and(|member| matches!(member, "key" | "secret"))
}
