//! The one form of a web address by which pages are told apart.

use url::Url;

/// Longer addresses are none, in bytes of the canonical form.
pub const LONGEST: usize = 2_048;

/// What is worth parsing: encoding may triple an address, and dropping parameters may halve it.
const LONGEST_INPUT: usize = 4 * LONGEST;

/// Parameters that say where a visitor came from, and change nothing on the page; compared in lower case.
#[rustfmt::skip]
const TRACKING: &[&str] = &[
    "__hsfp", "__hssc", "__hstc", "_ga", "_gl", "_hsenc", "_hsmi", "dclid", "epik", "fbclid", "gad_source",
    "gbraid", "gclid", "gclsrc", "hsctatracking", "igsh", "igshid", "li_fat_id", "mc_cid", "mc_eid", "mkt_tok",
    "msclkid", "oly_anon_id", "oly_enc_id", "srsltid", "ttclid", "twclid", "vero_id", "wbraid", "wickedid",
    "yclid", "ysclid",
];

/// The canonical form of an `http` or `https` address, or nothing if it is none, carries credentials or is longer than
/// [`LONGEST`].
///
/// Two addresses with the same form name the same page: the host is in lower case and without a final dot, the default
/// port, the fragment and tracking parameters are gone, dot segments are resolved, escapes are as short as they can be,
/// and parameters stand in the order of their names. Parameters of one name keep their order, and a final slash and
/// `index.html` stay, since servers may answer differently: the form can be fetched in place of the address.
pub fn canonical(url: &str) -> Option<String> {
    if url.len() > LONGEST_INPUT {
        return None;
    }
    let mut url = Url::parse(url).ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    if let Some(host) = url.host_str()?.strip_suffix('.').map(str::to_owned) {
        if host.is_empty() || host.ends_with('.') {
            return None;
        }
        url.set_host(Some(&host)).ok()?;
    }
    url.set_fragment(None);
    let path = shortest_escapes(url.path());
    url.set_path(&path);
    let query = url.query().map(sorted_query).filter(|query| !query.is_empty());
    url.set_query(query.as_deref());
    let canonical = String::from(url);
    (canonical.len() <= LONGEST).then_some(canonical)
}

/// The host and the port of an address, by which sites are told apart.
pub fn site(url: &str) -> Option<(String, u16)> {
    let url = Url::parse(url).ok()?;
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

fn sorted_query(query: &str) -> String {
    let mut pairs: Vec<String> = query.split('&').map(shortest_escapes).collect();
    pairs.retain(|pair| !pair.is_empty() && !is_tracking(name(pair)));
    pairs.sort_by(|a, b| name(a).cmp(name(b)));
    pairs.join("&")
}

fn name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

fn is_tracking(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("utm_") || TRACKING.contains(&name.as_str())
}

/// Decodes escapes of characters that need none, and writes the others in upper case.
///
/// Text with a stray `%` stays as it is: what follows it would be read as another escape the next time.
fn shortest_escapes(text: &str) -> String {
    let mut shortest = String::with_capacity(text.len());
    let mut parts = text.split('%');
    shortest.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let Some((byte, rest)) = escape(part) else { return text.to_owned() };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            shortest.push(char::from(byte));
        } else {
            shortest.push_str(&format!("%{byte:02X}"));
        }
        shortest.push_str(rest);
    }
    shortest
}

/// The byte that `part`, the text behind a `%`, starts with.
fn escape(part: &str) -> Option<(u8, &str)> {
    let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    Some((u8::from_str_radix(digits, 16).ok()?, part.get(2..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_page_has_one_form() {
        let cases = [
            ("http://example.com", "http://example.com/"),
            ("HTTP://User.Example.COM:80/a", "http://user.example.com/a"),
            ("https://example.com:443/", "https://example.com/"),
            ("https://example.com:8443/", "https://example.com:8443/"),
            ("http://example.com:443/", "http://example.com:443/"),
            ("  https://example.com/a \n", "https://example.com/a"),
            ("https://example.com./a", "https://example.com/a"),
            ("https://example.com/a#part", "https://example.com/a"),
            ("https://example.com/a?#", "https://example.com/a"),
            ("https://example.com/a/./b/../c/%2e%2E/d", "https://example.com/a/d"),
            ("https://example.com/../..", "https://example.com/"),
            ("https:\\\\example.com\\a", "https://example.com/a"),
            ("https://example.com/a/", "https://example.com/a/"),
            ("https://example.com/a/index.html", "https://example.com/a/index.html"),
            ("https://example.com/%7euser/%c3%a4%2fb", "https://example.com/~user/%C3%A4%2Fb"),
            ("https://example.com/ä b", "https://example.com/%C3%A4%20b"),
            ("https://example.com/100%/%41", "https://example.com/100%/%41"),
            ("https://example.com/?b=2&a=1", "https://example.com/?a=1&b=2"),
            ("https://example.com/?a=2&b&a=1&&", "https://example.com/?a=2&a=1&b"),
            ("https://example.com/?q=x+y&utm_source=a&UTM_Medium=b", "https://example.com/?q=x+y"),
            ("https://example.com/?gclid=1&fbclid=2&utm%5Fid=3", "https://example.com/"),
            ("https://example.com/?gclid_old=1&id=7", "https://example.com/?gclid_old=1&id=7"),
            ("https://BÜCHER.example/", "https://xn--bcher-kva.example/"),
            ("https://example.com/?u=%68ttp%3a%2f%2fa", "https://example.com/?u=http%3A%2F%2Fa"),
            ("http://2130706433/", "http://127.0.0.1/"),
            ("http://[2001:DB8::0:1]/", "http://[2001:db8::1]/"),
        ];
        for (url, expected) in cases {
            assert_eq!(canonical(url).as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn what_is_no_page_has_no_form() {
        let long = format!("https://example.com/{}", "a".repeat(LONGEST));
        let grown = format!("https://example.com/{}", "ä".repeat(LONGEST / 6));
        let cases = [
            "",
            "example.com/a",
            "/a",
            "ftp://example.com/",
            "javascript:alert(1)",
            "mailto:a@example.com",
            "data:text/html,a",
            "file:///etc/passwd",
            "https://",
            "https://./",
            "https://example.com../",
            "https://user@example.com/",
            "https://user:pass@example.com/",
            "https://example.com:70000/",
            "https://exa mple.com/",
            &long,
            &grown,
        ];
        for url in cases {
            assert_eq!(canonical(url), None, "{url}");
        }
    }

    #[test]
    fn the_longest_address_is_one() {
        let longest = format!("https://example.com/{}", "a".repeat(LONGEST - "https://example.com/".len()));
        assert_eq!(canonical(&longest).as_ref(), Some(&longest));
        assert_eq!(canonical(&format!("{longest}?utm_source={}", "b".repeat(100))), Some(longest));
    }

    proptest! {
        #[test]
        fn the_form_of_a_form_is_itself(
            host in "[A-Za-z0-9.%ä\\[\\]:-]{1,12}",
            rest in r"(/|\\|\.|%2e|%|%4|%41|%c3|a|B|ä| |\t|;|'|\||:|@){0,12}(\?(&|=|\+|%|%3|%33|%3d|a|b|'|ä|utm_a|#){0,12})?",
        ) {
            if let Some(form) = canonical(&format!("http://{host}{rest}")) {
                prop_assert_eq!(canonical(&form), Some(form));
            }
        }

        #[test]
        fn the_order_of_names_and_tracking_change_nothing(a in "[a-z0-9%]{0,6}", b in "[a-z0-9%]{0,6}") {
            let one = canonical(&format!("https://example.com/?x={a}&y={b}"));
            let other = canonical(&format!("https://example.com/?y={b}&utm_source=n&x={a}#f"));
            prop_assert!(one.is_some());
            prop_assert_eq!(one, other);
        }
    }
}
