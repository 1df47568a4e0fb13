//! Which addresses are on the public internet: the tables, and what each range is for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use thiserror::Error;

/// IPv4 addresses that are not the public internet: IANA's special-purpose registry, multicast, what is
/// reserved, and one public address that answers inside a cloud only.
const IPV4_SPECIAL: [(Ipv4Net, &str); 20] = [
    (v4(0, 0, 0, 0, 8), "this network"),
    (v4(10, 0, 0, 0, 8), "private network"),
    (v4(100, 64, 0, 0, 10), "shared by a carrier"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(168, 63, 129, 16, 32), "cloud host agent"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private network"),
    (v4(192, 0, 0, 0, 24), "protocol assignments"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 31, 196, 0, 24), "protocol assignments"),
    (v4(192, 52, 193, 0, 24), "protocol assignments"),
    (v4(192, 88, 99, 0, 24), "6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private network"),
    (v4(192, 175, 48, 0, 24), "protocol assignments"),
    (v4(198, 18, 0, 0, 15), "benchmarking"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(255, 255, 255, 255, 32), "broadcast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

/// The only part of IPv6 that is handed out for the public internet.
const IPV6_GLOBAL: Ipv6Net = v6([0x2000, 0, 0], 3);

/// IPv6 ranges inside [`IPV6_GLOBAL`] that are not public, and some outside it that deserve a name.
const IPV6_SPECIAL: [(Ipv6Net, &str); 9] = [
    (v6([0x2001, 0, 0], 23), "protocol assignments"),
    (v6([0x2001, 0xdb8, 0], 32), "documentation"),
    (v6([0x2002, 0, 0], 16), "6to4"),
    (v6([0x3fff, 0, 0], 20), "documentation"),
    (v6([0x64, 0xff9b, 0], 96), "translated IPv4"),
    (v6([0x64, 0xff9b, 1], 48), "translated IPv4"),
    (v6([0xfc00, 0, 0], 7), "private network"),
    (v6([0xfe80, 0, 0], 10), "link-local"),
    (v6([0xff00, 0, 0], 8), "multicast"),
];

/// An IPv4 range, for the tables above.
const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// An IPv6 range by its first three groups, for the tables above.
const fn v6([a, b, c]: [u16; 3], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// An address that is not on the public internet. Shows the kind of address, never the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the address is not public ({kind})")]
pub struct Denied {
    /// What the address is used for, in a word or two.
    pub kind: &'static str,
}

/// Whether an address is on the public internet; IPv4 inside IPv6 is judged as the IPv4 address.
pub(super) fn judge_public(address: IpAddr) -> Result<(), Denied> {
    let kind = match address.to_canonical() {
        IpAddr::V4(v4) => special_ipv4(v4),
        IpAddr::V6(v6) => special_ipv6(v6),
    };
    kind.map_or(Ok(()), |kind| Err(Denied { kind }))
}

/// What a special IPv4 address is for; `None` for a public one.
fn special_ipv4(address: Ipv4Addr) -> Option<&'static str> {
    IPV4_SPECIAL.iter().find(|(range, _)| range.contains(&address)).map(|(_, kind)| *kind)
}

/// What a special IPv6 address is for; `None` for a public one.
fn special_ipv6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_loopback() {
        return Some("loopback");
    }
    let named = IPV6_SPECIAL.iter().find(|(range, _)| range.contains(&address)).map(|(_, kind)| *kind);
    named.or_else(|| (!IPV6_GLOBAL.contains(&address)).then_some("not global unicast"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_denied() {
        for (text, kind) in [
            ("0.0.0.0", "this network"),
            ("0.255.255.255", "this network"),
            ("10.0.0.1", "private network"),
            ("10.255.255.255", "private network"),
            ("100.64.0.0", "shared by a carrier"),
            ("100.127.255.255", "shared by a carrier"),
            ("100.100.100.200", "shared by a carrier"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("168.63.129.16", "cloud host agent"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.0", "private network"),
            ("172.31.255.255", "private network"),
            ("192.0.0.1", "protocol assignments"),
            ("192.0.0.192", "protocol assignments"),
            ("192.0.2.1", "documentation"),
            ("192.31.196.1", "protocol assignments"),
            ("192.52.193.1", "protocol assignments"),
            ("192.88.99.1", "6to4 relay"),
            ("192.168.1.1", "private network"),
            ("192.175.48.1", "protocol assignments"),
            ("198.18.0.1", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("198.51.100.7", "documentation"),
            ("203.0.113.7", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "not global unicast"),
            ("::1", "loopback"),
            ("::127.0.0.1", "not global unicast"),
            ("::8.8.8.8", "not global unicast"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.1.2.3", "private network"),
            ("::ffff:0:127.0.0.1", "not global unicast"),
            ("64:ff9b::8.8.8.8", "translated IPv4"),
            ("64:ff9b:1::1", "translated IPv4"),
            ("100::1", "not global unicast"),
            ("1fff:ffff::1", "not global unicast"),
            ("2001::1", "protocol assignments"),
            ("2001:1ff:ffff::1", "protocol assignments"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::", "6to4"),
            ("3fff::1", "documentation"),
            ("3fff:fff:ffff::1", "documentation"),
            ("4000::1", "not global unicast"),
            ("5f00::1", "not global unicast"),
            ("fc00::1", "private network"),
            ("fd00:ec2::254", "private network"),
            ("fe80::1", "link-local"),
            ("fec0::1", "not global unicast"),
            ("ff02::1", "multicast"),
        ] {
            assert_eq!(judge_public(text.parse().unwrap()), Err(Denied { kind }), "{text}");
        }
    }

    #[test]
    fn public_addresses_are_allowed() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2000::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2001:db9::1",
            "2003::1",
            "2606:4700:4700::1111",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            assert_eq!(judge_public(text.parse().unwrap()), Ok(()), "{text}");
        }
    }
}
