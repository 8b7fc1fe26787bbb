//! Under which names the port may be asked, and by which web pages.
//!
//! A web page may have its own name lead to an address of this machine or network (DNS rebinding), and its script then reads what is
//! answered as if it came from the page's own site. The browser still sends the page's name in `Host`: so names that anybody on the
//! internet can own are refused unless they are listed. And a page elsewhere may send a form to this port without seeing the answer:
//! so what changes something is refused to pages of another origin.

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};
use std::net::IpAddr;

/// Endings of names that nobody can own outside of a network of their own: reserved, or of clusters.
const PRIVATE_ENDINGS: [&str; 4] = [".localhost", ".internal", ".svc", ".cluster.local"];

/// Whether a request with this header may be answered. Without one (HTTP/1.0) it comes from no browser.
pub(super) fn is_allowed(headers: &HeaderMap, listed: &[String]) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => true,
        (Some(host), None) => host.to_str().is_ok_and(|host| is_allowed_name(host, listed)),
        (Some(_), Some(_)) => false,
    }
}

/// Whether a page of another origin has sent this request.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let own = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    match (own, host) {
        (Some(own), Some(host)) => !own.eq_ignore_ascii_case(host),
        (_, None) | (None, _) => true,
    }
}

fn is_allowed_name(host: &str, listed: &[String]) -> bool {
    let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
    if name.is_empty() {
        return false;
    }
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    address.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || PRIVATE_ENDINGS.iter().any(|ending| name.ends_with(ending))
        || listed.iter().any(|allowed| allowed == "*" || *allowed == name)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // `[::1]:80` and `[::1]`: only what is behind the bracket is a port.
        Some((name, port)) if !port.contains(']') => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn addresses_and_names_that_nobody_outside_can_own_are_answered() {
        for host in [
            "127.0.0.1:8888",
            "10.1.2.3",
            "[::1]:8888",
            "[2001:db8::1]",
            "localhost:8888",
            "LOCALHOST",
            "sutra-cache:8888",
            "cache.localhost",
            "cache.default.svc:8888",
            "cache.default.svc.cluster.local",
            "metadata.internal",
        ] {
            assert!(is_allowed_name(host, &[]), "{host}");
        }
    }

    #[test]
    fn a_name_that_anybody_can_own_is_refused_unless_listed() {
        let listed = ["cache.example.com".to_owned()];
        for host in [
            "evil.example:8888",
            "rebind.attacker.net",
            "127.0.0.1.nip.io",
            "localhost.evil.com",
            "",
            ":80",
            "x.localhost.evil.com.",
        ] {
            assert!(!is_allowed_name(host, &listed), "{host}");
        }
        assert!(is_allowed_name("cache.example.com:8888", &listed));
        assert!(is_allowed_name("Cache.Example.com.", &listed));
        assert!(is_allowed_name("anything.example", &["*".to_owned()]));
        assert!(!is_allowed(&headers(&[("host", "localhost"), ("host", "evil.example")]), &[]));
        assert!(is_allowed(&headers(&[]), &[]));
    }

    #[test]
    fn a_page_of_another_origin_is_told_from_the_own_one() {
        assert!(!is_from_elsewhere(&headers(&[("host", "localhost:8888")])));
        assert!(!is_from_elsewhere(&headers(&[("host", "localhost:8888"), ("origin", "http://localhost:8888")])));
        for origin in ["http://evil.example", "http://localhost:3000", "null"] {
            assert!(is_from_elsewhere(&headers(&[("host", "localhost:8888"), ("origin", origin)])), "{origin}");
        }
    }
}
