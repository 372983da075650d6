//! The client's real address: the socket's own, unless a trusted proxy names another.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderValue};
use ipnet::IpNet;

/// The address that limits and logs count. `socket` is `None` on a unix socket, which is always trusted.
pub(super) fn address(socket: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let own = socket.map(|address| address.ip().to_canonical());
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if own.is_some_and(|own| !is_trusted(&own)) {
        return own.unwrap_or(UNKNOWN);
    }
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let real_ip = headers.get_all("x-real-ip").last().and_then(|value| parse(&text(value)));
    if let Some(address) = real_ip {
        return address;
    }
    // From the right: each proxy appends whom it saw, so what stands left of an untrusted entry is hearsay.
    let lines: Vec<String> = headers.get_all("x-forwarded-for").map(text).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        match parse(entry) {
            Some(address) if is_trusted(&address) => {}
            Some(address) => return address,
            None => break,
        }
    }
    own.unwrap_or(UNKNOWN)
}

/// Who comes over a unix socket without a word about himself.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The address of a request.
pub(super) fn of(request: &HttpRequest, trusted: &[IpNet]) -> IpAddr {
    address(request.peer_addr(), request.headers(), trusted)
}

/// Whether the client came over TLS, by the word of a trusted proxy.
pub(super) fn is_https(request: &HttpRequest, trusted: &[IpNet]) -> bool {
    let own = request.peer_addr().map(|address| address.ip().to_canonical());
    let is_trusted = own.is_none_or(|own| trusted.iter().any(|network| network.contains(&own)));
    // The last word is that of the proxy in front of us.
    let last = request.headers().get_all("x-forwarded-proto").last().and_then(|value| value.to_str().ok());
    let scheme = last.and_then(|text| text.rsplit(',').next()).unwrap_or_default();
    is_trusted && scheme.trim().eq_ignore_ascii_case("https")
}

/// An address with or without brackets and port.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(address, _)| address);
    let address = bare.unwrap_or(text).parse::<IpAddr>().ok();
    address
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;

    use super::*;

    #[track_caller]
    fn check(socket: Option<&str>, headers: &[(&'static str, &str)], expected: &str) {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let socket = socket.map(|address| SocketAddr::new(address.parse().unwrap(), 1));
        assert_eq!(
            address(socket, &map, &trusted),
            expected.parse::<IpAddr>().unwrap(),
            "{socket:?} {headers:?}"
        );
    }

    #[test]
    fn a_stranger_cannot_name_another_address() {
        // The attack: a new X-Forwarded-For with each request, so that no limit per address ever bites.
        check(Some("192.0.2.1"), &[("x-forwarded-for", "198.51.100.7")], "192.0.2.1");
        check(Some("192.0.2.1"), &[("x-real-ip", "198.51.100.7")], "192.0.2.1");
        check(Some("::ffff:192.0.2.1"), &[("x-real-ip", "198.51.100.7")], "192.0.2.1");
    }

    #[test]
    fn a_client_behind_a_trusted_proxy_cannot_hide_behind_an_entry_of_its_own() {
        // The attack: the client sends X-Forwarded-For itself, and the proxy appends the true address.
        check(Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.7, 192.0.2.1")], "192.0.2.1");
        check(Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.7, 192.0.2.1, 10.0.0.2")], "192.0.2.1");
        check(
            Some("10.0.0.1"),
            &[("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "192.0.2.1")],
            "192.0.2.1",
        );
        // What cannot be read ends the chain: nothing left of it counts.
        check(Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.7, garbage, 10.0.0.2")], "10.0.0.1");
        check(
            Some("10.0.0.1"),
            &[("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "\u{e9}")],
            "10.0.0.1",
        );
    }

    /// The attack: a stranger has the server take plain HTTP for TLS, or a proxy's own word is preceded by another.
    #[test]
    fn only_a_trusted_proxy_says_that_it_is_tls() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (socket, headers, expected) in [
            (Some("10.0.0.1"), &["https"][..], true),
            (None, &["HTTPS"], true),
            (None, &["http, https"], true),
            (Some("192.0.2.1"), &["https"], false),
            (None, &["https, http"], false),
            (None, &["https", "http"], false),
            (None, &[], false),
        ] {
            let mut request = actix_web::test::TestRequest::get();
            if let Some(socket) = socket {
                request = request.peer_addr(SocketAddr::new(socket.parse().unwrap(), 1));
            }
            for value in headers {
                request = request.append_header(("x-forwarded-proto", *value));
            }
            assert_eq!(is_https(&request.to_http_request(), &trusted), expected, "{socket:?} {headers:?}");
        }
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        check(
            Some("10.0.0.1"),
            &[("x-real-ip", "192.0.2.1"), ("x-forwarded-for", "198.51.100.7")],
            "192.0.2.1",
        );
        check(Some("fd00::1"), &[("x-real-ip", "[2001:db8::1]:443")], "2001:db8::1");
        check(None, &[("x-real-ip", "192.0.2.1:80")], "192.0.2.1");
        check(None, &[("x-real-ip", "::ffff:192.0.2.1")], "192.0.2.1");
        check(None, &[("x-real-ip", "nonsense"), ("x-forwarded-for", "192.0.2.1")], "192.0.2.1");
        check(None, &[], "127.0.0.1");
    }
}
