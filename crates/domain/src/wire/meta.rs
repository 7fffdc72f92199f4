//! Who and why, as stored beside each event: a few dozen bytes, because every event has them.
//!
//! ```text
//! 1 byte    version of this form, 2
//! 1 byte    flags: 1 = there is a causation id, 2 = there is a traceparent
//! 16 bytes  correlation id
//! 16 bytes  causation id, if there is one
//! texts     actor, tenant, and the traceparent if there is one. Each is one byte and what follows from it:
//!           up to 191: so many bytes of UTF-8
//!           from 192: nothing; it stands for a name that many events have, the first of them at 192
//!           255: two bytes with the length, little-endian, and UTF-8
//! ```
//!
//! Logs from before this form hold the same as a JSON object, or in form 1, in which each text has its length as two
//! bytes. Both are still read.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use uuid::Uuid;

use crate::envelope::Meta;

/// The first byte of this form, and of the one before. A JSON object begins with another one.
const FORM: u8 = 2;
const FORM_1: u8 = 1;

/// The longest text whose length takes one byte; behind it come the names.
const SHORT: u8 = 191;
const FIRST_NAME: u8 = SHORT + 1;
const LONG: u8 = 255;

/// What most events say of their actor and their tenant. Logs hold their numbers: names are only ever added at the end.
const NAMES: [&str; 5] = ["default", "client", "engine", "worker", "reaper"];

/// One copy of each name for all events.
static SHARED_NAMES: LazyLock<[Arc<str>; 5]> = LazyLock::new(|| NAMES.map(Into::into));

const HAS_CAUSATION: u8 = 1;
const HAS_TRACEPARENT: u8 = 2;

/// Stored bytes that are no meta data, or a text that is too long to be stored.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    #[error("{0} has {1} bytes; at most 65535 can be stored")]
    TooLong(&'static str, usize),
    #[error("its meta data is of form {0}, which is not known; a newer version may have written it")]
    UnknownForm(u8),
    #[error("its meta data is not as it was written")]
    Malformed,
}

/// Writes who and why.
pub fn encode_meta(meta: &Meta) -> Result<Vec<u8>, MetaError> {
    let traceparent = meta.traceparent.as_deref();
    let texts = meta.actor.len() + meta.tenant.len() + traceparent.map_or(0, str::len);
    let mut out = Vec::with_capacity(40 + texts);
    let mut flags = 0;
    if meta.causation_id.is_some() {
        flags |= HAS_CAUSATION;
    }
    if traceparent.is_some() {
        flags |= HAS_TRACEPARENT;
    }
    out.extend([FORM, flags]);
    out.extend(meta.correlation_id.as_bytes());
    if let Some(causation_id) = meta.causation_id {
        out.extend(causation_id.as_bytes());
    }
    write_text(&mut out, "the actor", &meta.actor)?;
    write_text(&mut out, "the tenant", &meta.tenant)?;
    if let Some(traceparent) = traceparent {
        write_text(&mut out, "the traceparent", traceparent)?;
    }
    Ok(out)
}

fn write_text(out: &mut Vec<u8>, name: &'static str, text: &str) -> Result<(), MetaError> {
    let named = (FIRST_NAME..).zip(NAMES).find(|(_, known)| *known == text);
    if let Some((number, _)) = named {
        out.push(number);
        return Ok(());
    }
    let length = u16::try_from(text.len()).map_err(|_| MetaError::TooLong(name, text.len()))?;
    match u8::try_from(length) {
        Ok(length @ ..=SHORT) => out.push(length),
        Ok(_) | Err(_) => {
            out.push(LONG);
            out.extend(length.to_le_bytes());
        }
    }
    out.extend(text.as_bytes());
    Ok(())
}

/// Reads what [`encode_meta`] wrote, now or in the past, and nothing else: the hash chain covers the values, so other
/// bytes for the same values would go unnoticed.
pub fn decode_meta(stored: &[u8]) -> Result<Meta, MetaError> {
    match stored.first() {
        Some(b'{') => decode_json(stored),
        Some(_) | None => Parts::read(stored).map(Parts::meta),
    }
}

/// Reads only the tenant, which takes no memory if many events have it. Fails if [`decode_meta`] does.
pub fn decode_tenant(stored: &[u8]) -> Result<Cow<'static, str>, MetaError> {
    match stored.first() {
        Some(b'{') => decode_json(stored).map(|meta| meta.tenant.as_ref().to_owned().into()),
        Some(_) | None => Parts::read(stored).map(|parts| parts.tenant.owned()),
    }
}

fn decode_json(stored: &[u8]) -> Result<Meta, MetaError> {
    let meta: Meta = serde_json::from_slice(stored).map_err(|_| MetaError::Malformed)?;
    let again = serde_json::to_vec(&meta).map_err(|_| MetaError::Malformed)?;
    if again == stored { Ok(meta) } else { Err(MetaError::Malformed) }
}

/// What was stored in form 1 or 2, in place.
struct Parts<'a> {
    actor: Text<'a>,
    tenant: Text<'a>,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    traceparent: Option<Text<'a>>,
}

impl<'a> Parts<'a> {
    fn read(stored: &'a [u8]) -> Result<Self, MetaError> {
        let (form, rest) = stored.split_first().ok_or(MetaError::Malformed)?;
        let parts = match *form {
            FORM => Bytes(rest).parts(Bytes::text),
            FORM_1 => Bytes(rest).parts(Bytes::text_of_form_1),
            form => return Err(MetaError::UnknownForm(form)),
        };
        parts.ok_or(MetaError::Malformed)
    }

    fn meta(self) -> Meta {
        Meta {
            actor: self.actor.shared(),
            tenant: self.tenant.shared(),
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            traceparent: self.traceparent.map(|text| text.owned().into_owned()),
        }
    }
}

/// A stored text.
#[derive(Clone, Copy)]
enum Text<'a> {
    /// The place of one of [`NAMES`].
    Name(usize),
    Other(&'a str),
}

impl Text<'_> {
    fn shared(self) -> Arc<str> {
        match self {
            Self::Name(name) => SHARED_NAMES[name].clone(),
            Self::Other(text) => text.into(),
        }
    }

    fn owned(self) -> Cow<'static, str> {
        match self {
            Self::Name(name) => NAMES[name].into(),
            Self::Other(text) => text.to_owned().into(),
        }
    }
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn parts(mut self, text: fn(&mut Self) -> Option<Text<'a>>) -> Option<Parts<'a>> {
        let [flags] = self.array()?;
        if flags & !(HAS_CAUSATION | HAS_TRACEPARENT) != 0 {
            return None;
        }
        let correlation_id = Uuid::from_bytes(self.array()?);
        let causation_id = match flags & HAS_CAUSATION {
            0 => None,
            _ => Some(Uuid::from_bytes(self.array()?)),
        };
        let (actor, tenant) = (text(&mut self)?, text(&mut self)?);
        let traceparent = match flags & HAS_TRACEPARENT {
            0 => None,
            _ => Some(text(&mut self)?),
        };
        self.0.is_empty().then_some(Parts { actor, tenant, correlation_id, causation_id, traceparent })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn text(&mut self) -> Option<Text<'a>> {
        let length = match self.array()? {
            [length @ ..=SHORT] => length.into(),
            [LONG] => Some(u16::from_le_bytes(self.array()?)).filter(|length| *length > SHORT.into())?,
            [number] => {
                let name = usize::from(number - FIRST_NAME);
                return (name < NAMES.len()).then_some(Text::Name(name));
            }
        };
        let text = self.utf8(length)?;
        // It would have been written as a number.
        (!NAMES.contains(&text)).then_some(Text::Other(text))
    }

    fn text_of_form_1(&mut self) -> Option<Text<'a>> {
        let length = u16::from_le_bytes(self.array()?);
        self.utf8(length).map(Text::Other)
    }

    fn utf8(&mut self, length: u16) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meta(causation_id: Option<Uuid>, traceparent: Option<String>) -> Meta {
        Meta {
            actor: "client".into(),
            tenant: "default".into(),
            correlation_id: Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
            causation_id,
            traceparent,
        }
    }

    /// Frozen: logs hold these bytes.
    #[test]
    fn the_form() {
        let hex = |meta: &Meta| -> String {
            encode_meta(meta).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let correlation = "0102030405060708090a0b0c0d0e0f10";
        let (client, tenant) = ("c1", "c0");
        assert_eq!(hex(&meta(None, None)), format!("0200{correlation}{client}{tenant}"));
        let caused = meta(Some(Uuid::from_u128(0xff)), Some("00-ab".into()));
        let causation = "000000000000000000000000000000ff";
        assert_eq!(hex(&caused), format!("0203{correlation}{causation}{client}{tenant}0530302d6162"));
        for (number, name) in (0xc0..).zip(["default", "client", "engine", "worker", "reaper"]) {
            let named = Meta { actor: name.into(), ..meta(None, None) };
            assert_eq!(hex(&named), format!("0200{correlation}{number:02x}{tenant}"));
        }
        let ada = Meta { actor: "ada".into(), ..meta(None, None) };
        assert_eq!(hex(&ada), format!("0200{correlation}03616461{tenant}"));
        let long = Meta { tenant: "t".repeat(192).into(), ..meta(None, None) };
        assert_eq!(hex(&long), format!("0200{correlation}{client}ffc000{}", "74".repeat(192)));
    }

    /// Frozen: logs of before hold these bytes.
    #[test]
    fn form_1_is_read() {
        let bytes = |hex: String| -> Vec<u8> {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        };
        let correlation = "0102030405060708090a0b0c0d0e0f10";
        let (client, tenant) = ("0600636c69656e74", "070064656661756c74");
        let plain = bytes(format!("0100{correlation}{client}{tenant}"));
        assert_eq!(decode_meta(&plain).unwrap(), meta(None, None));
        let causation = "000000000000000000000000000000ff";
        let caused = bytes(format!("0103{correlation}{causation}{client}{tenant}050030302d6162"));
        let expected = meta(Some(Uuid::from_u128(0xff)), Some("00-ab".into()));
        assert_eq!(decode_meta(&caused).unwrap(), expected);
        assert!(decode_meta(&caused[..caused.len() - 1]).is_err());
    }

    #[test]
    fn the_older_form_is_read_if_it_is_as_it_was_written() {
        let id = "01020304-0506-0708-090a-0b0c0d0e0f10";
        let json = format!(r#"{{"actor":"client","tenant":"default","correlation_id":"{id}"}}"#);
        assert_eq!(decode_meta(json.as_bytes()).unwrap(), meta(None, None));
        assert_eq!(decode_tenant(json.as_bytes()).unwrap(), "default");
        assert!(decode_meta(json.replace('-', "").as_bytes()).is_err());
        assert!(decode_meta(b"{").is_err());
    }

    #[test]
    fn what_cannot_be_stored_is_refused_by_name() {
        let long = Meta { actor: "x".repeat(65_536).into(), ..meta(None, None) };
        assert!(encode_meta(&long).unwrap_err().to_string().contains("actor"));
        assert!(decode_meta(&[9]).unwrap_err().to_string().contains("form 9"));
    }

    proptest! {
        #[test]
        fn comes_back_and_is_the_only_form_of_its_values(
            actor in "(.{0,40}|client|.{90})", tenant in "(.{0,40}|default)", traceparent in prop::option::of(".{0,60}"),
            correlation in any::<u128>(), causation in prop::option::of(any::<u128>()),
            at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let meta = Meta {
                actor: actor.as_str().into(),
                tenant: tenant.as_str().into(),
                correlation_id: Uuid::from_u128(correlation),
                causation_id: causation.map(Uuid::from_u128),
                traceparent,
            };
            let stored = encode_meta(&meta).unwrap();
            prop_assert_eq!(&decode_meta(&stored).unwrap(), &meta);
            prop_assert_eq!(decode_tenant(&stored).unwrap(), &*meta.tenant);
            let mut damaged = stored.clone();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            if damaged != stored && let Ok(other) = decode_meta(&damaged) {
                prop_assert_ne!(other, meta);
            }
            prop_assert!(decode_meta(&stored[..stored.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let tenant = decode_meta(&bytes).ok().map(|meta| meta.tenant.to_string());
            prop_assert_eq!(decode_tenant(&bytes).ok().map(Cow::into_owned), tenant);
        }
    }
}
