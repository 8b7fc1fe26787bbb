//! The password in a request: `Authorization: Bearer PASSWORD`, or `Basic` with any user or `default`.

use crate::settings::Settings;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

/// Whether the request carries the password, or none is set.
pub(super) fn are_right(headers: &HeaderMap, settings: &Settings) -> bool {
    if !settings.has_password() {
        return true;
    }
    let Some((scheme, value)) = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked(6))
    else {
        return false;
    };
    if scheme.eq_ignore_ascii_case(b"Bearer") {
        return settings.is_password(value.trim_ascii());
    }
    let Some(value) = Some(value).filter(|_| scheme.eq_ignore_ascii_case(b"Basic ")) else {
        return false;
    };
    let Some(pair) = decode_base64(value.trim_ascii()) else { return false };
    let Some(colon) = pair.iter().position(|byte| *byte == b':') else { return false };
    let user = &pair[..colon];
    // The one user that there is; browsers and `curl -u :PASSWORD` leave the name empty.
    (user.is_empty() || user == b"default") && settings.is_password(&pair[colon + 1..])
}

/// RFC 4648, with or without padding.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            let sextet = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(sextet);
        }
        match group.len() {
            4 => bytes.extend_from_slice(&bits.to_be_bytes()[1..]),
            3 => bytes.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
            2 => bytes.push((bits >> 4).to_be_bytes()[3]),
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn with(value: &'static str) -> HeaderMap {
        std::iter::once((AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, bytes) in [
            (&b""[..], &b""[..]),
            (b"Zg==", b"f"),
            (b"Zm8=", b"fo"),
            (b"Zm9v", b"foo"),
            (b"Zm9vYg", b"foob"),
            (b"Zm9vYmE=", b"fooba"),
            (b"+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(decode_base64(text).as_deref(), Some(bytes));
        }
        assert_eq!(decode_base64(b"Z"), None);
        assert_eq!(decode_base64(b"Zm 9"), None);
    }

    #[test]
    fn only_the_password_opens_and_without_one_nothing_is_asked() {
        let settings = Settings::default();
        assert!(are_right(&HeaderMap::new(), &settings));
        settings.set_password(Some(b"secret"));
        for value in ["Bearer secret", "bearer  secret", "Basic OnNlY3JldA==", "Basic ZGVmYXVsdDpzZWNyZXQ="] {
            assert!(are_right(&with(value), &settings), "{value}");
        }
        // The third is `root:secret`, the fourth `secret` without a colon.
        for value in
            ["Bearer wrong", "Bearer", "Basic cm9vdDpzZWNyZXQ=", "Basic c2VjcmV0", "secret", "Digest secret", "B"]
        {
            assert!(!are_right(&with(value), &settings), "{value}");
        }
        assert!(!are_right(&HeaderMap::new(), &settings));
    }
}
