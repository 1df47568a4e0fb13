//! Who is calling: the address of the peer, or, behind proxies that we trust, what they report.
//!
//! Each proxy appends the address that it saw, so the list is judged from the right: the first address that is no
//! trusted proxy is the client, and everything left of it is the client's own claim. Only the one header that the
//! settings name is read; a proxy that writes one of them passes on whatever a client puts into the other.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::domain::request::Headers;

/// The header that the trusted proxies write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

/// The address of the client. Mapped addresses (`::ffff:192.0.2.1`) are shown as IPv4. If a trusted proxy reports
/// something that is no address, the proxy itself is the answer.
#[must_use]
pub fn client_address(
    peer: IpAddr,
    headers: Headers<'_>,
    forwarded_header: ForwardedHeader,
    trusted_proxies: &[IpNet],
) -> IpAddr {
    let mut nearest = peer.to_canonical();
    if !is_in(nearest, trusted_proxies) {
        return nearest;
    }
    for hop in hops(headers, forwarded_header).into_iter().rev() {
        let Some(address) = hop else { return nearest };
        nearest = address;
        if !is_in(nearest, trusted_proxies) {
            return nearest;
        }
    }
    nearest
}

/// Whether an allowlist lets `address` in. An empty list lets everyone in.
#[must_use]
pub fn is_allowed(address: IpAddr, allowlist: &[IpNet]) -> bool {
    allowlist.is_empty() || is_in(address.to_canonical(), allowlist)
}

/// Whether `address` (canonical) lies in one of the networks, which may be written in mapped form.
fn is_in(address: IpAddr, networks: &[IpNet]) -> bool {
    let mapped = match address {
        IpAddr::V4(v4) => Some(IpAddr::V6(v4.to_ipv6_mapped())),
        IpAddr::V6(_) => None,
    };
    let holds_mapped = |network: &IpNet| {
        // `::/0` and the like are about IPv6; only a network inside ::ffff:0:0/96 speaks of IPv4.
        network.prefix_len() >= 96 && mapped.is_some_and(|mapped| network.contains(&mapped))
    };
    networks.iter().any(|network| network.contains(&address) || holds_mapped(network))
}

/// The reported addresses from left to right; `None` for what is no address, such as `unknown`.
fn hops(headers: Headers<'_>, forwarded_header: ForwardedHeader) -> Vec<Option<IpAddr>> {
    let name = match forwarded_header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    };
    let mut hops = Vec::new();
    for value in headers.all(name) {
        for element in String::from_utf8_lossy(value).split(',') {
            hops.push(match forwarded_header {
                ForwardedHeader::XForwardedFor => parse_node(element.trim()),
                ForwardedHeader::Forwarded => forwarded_for(element).and_then(parse_node),
            });
        }
    }
    hops
}

/// The `for` parameter of one element of `Forwarded`, without quotes.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then(|| value.trim_matches('"'))
    })
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse_node(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().filter(IpAddr::is_ipv6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(bare).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let headers: Vec<_> = forwarded.iter().map(|value| ("X-Forwarded-For", value.as_bytes())).collect();
        let trusted = nets(&["10.0.0.0/8", "fd00::/8"]);
        client_address(ip(peer), Headers(&headers), ForwardedHeader::XForwardedFor, &trusted).to_string()
    }

    #[test]
    fn an_untrusted_peer_speaks_for_itself() {
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn the_list_is_judged_from_the_right() {
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"]), "198.51.100.7", "left is a claim");
        assert_eq!(client("10.0.0.1", &["203.0.113.9", "198.51.100.7", "10.0.0.2"]), "198.51.100.7", "several headers");
        assert_eq!(client("::ffff:10.0.0.1", &["::ffff:198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "all are trusted");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(client("fd00::1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &["198.51.100.7, unknown"]), "10.0.0.1", "no address: the proxy itself");
        assert_eq!(client("10.0.0.1", &["198.51.100.7, "]), "10.0.0.1");
    }

    #[test]
    fn only_the_named_header_is_read() {
        let both: [(&str, &[u8]); 2] = [
            ("Forwarded", b"for=203.0.113.9, For=\"[2001:db8::7]:80\";proto=https"),
            ("X-Forwarded-For", b"192.0.2.1"),
        ];
        let read = |header| client_address(ip("10.0.0.1"), Headers(&both), header, &nets(&["10.0.0.0/8"]));
        assert_eq!(read(ForwardedHeader::Forwarded), ip("2001:db8::7"));
        assert_eq!(read(ForwardedHeader::XForwardedFor), ip("192.0.2.1"));
    }

    #[test]
    fn allowlists() {
        let list = nets(&["192.0.2.0/24", "2001:db8::/32"]);
        assert!(is_allowed(ip("192.0.2.9"), &list) && is_allowed(ip("::ffff:192.0.2.9"), &list));
        assert!(is_allowed(ip("2001:db8::1"), &list));
        assert!(!is_allowed(ip("198.51.100.1"), &list));
        assert!(is_allowed(ip("198.51.100.1"), &[]));
        assert!(is_allowed(ip("192.0.2.9"), &nets(&["::ffff:192.0.2.0/120"])), "a network in mapped form");
        assert!(!is_allowed(ip("192.0.2.9"), &nets(&["::/0"])), "all of IPv6 is not all of IPv4");
    }

    proptest! {
        #[test]
        fn a_claim_never_displaces_what_the_proxy_saw(claim in "[^\\r\\n]{0,60}") {
            prop_assert_eq!(client("10.0.0.1", &[&claim, "198.51.100.7"]), "198.51.100.7");
            prop_assert_eq!(client("192.0.2.1", &[&claim]), "192.0.2.1");
        }
    }
}
