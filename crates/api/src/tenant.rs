//! Whose work a request is about: `X-Tenant`.
//!
//! A label for fairness, and no authorization: tenants take turns in the queue and each has its own idempotency keys,
//! but whoever can call the API may read and steer all jobs.

use std::sync::Arc;

use axum::http::HeaderMap;

use crate::problem::Problem;

/// Who does not say belongs to this one.
pub(crate) const DEFAULT: &str = "default";

/// What a name must be.
pub(crate) const EXPECTED: &str = "expected one name of 1 to 64 visible ASCII characters";

const MAX_LENGTH: usize = 64;

/// The tenant that a request names.
pub(crate) fn of(headers: &HeaderMap) -> Result<Arc<str>, Problem> {
    let mut names = headers.get_all("x-tenant").iter();
    let Some(name) = names.next() else { return Ok(DEFAULT.into()) };
    match name.to_str() {
        Ok(name) if is_name(name) && names.next().is_none() => Ok(name.into()),
        Ok(_) | Err(_) => Err(Problem::field("X-Tenant", EXPECTED)),
    }
}

/// No control characters: the hash chain has one line per field.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_LENGTH).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&[u8]]) -> Result<Arc<str>, Problem> {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append("x-tenant", axum::http::HeaderValue::from_bytes(name).unwrap());
        }
        of(&headers)
    }

    #[test]
    fn a_tenant_is_one_visible_word() {
        assert_eq!(read(&[]).as_deref(), Ok("default"));
        assert_eq!(read(&[b"acme/blue"]).as_deref(), Ok("acme/blue"));
        assert_eq!(read(&[&[b'x'; 64]]).unwrap().len(), 64);
        for bad in
            [&[&b""[..]][..], &[b"two words"], &[b"a\tb"], &[&[b'x'; 65]], &[b"\xc3\xa4"], &[b"a", b"b"]]
        {
            assert_eq!(read(bad).unwrap_err().errors[0].field, "X-Tenant", "{bad:?}");
        }
    }
}
