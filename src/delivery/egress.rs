//! Where we are willing to send: rules about addresses and URLs (RELIABILITY section 6). No I/O.
//!
//! Affiliates choose the URLs, so each is an attempt to reach something that only we can reach until
//! it is judged. Guaranteed: a [`TargetUrl`] is parsed once, by the rules of browsers, and everything
//! that is dialled is taken from it; every spelling of an address (`127.1`, `0x7f000001`, fullwidth
//! digits, IPv4 inside IPv6) is judged as the address that it means, or refused.
//!
//! One exemption: the ranges of the setting `outbound.allow_ranges` (loopback for the demo and tests, a
//! private network of the operator's). A target whose address lies in one of them may use http, any
//! port and any name. Where a name leads is known only at the dial, so while the setting names ranges,
//! the rules about scheme, port and name are applied to names there, once for every address found. A URL
//! with a literal address, and every URL while the setting is empty, is judged completely here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::Uri;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use thiserror::Error;
use url::{Host, Url};

/// The longest URL that is registered, in bytes.
pub const MAX_URL_BYTES: usize = 2048;

/// The longest URL that is called, in bytes: a registered one with values in the place of its macros.
pub const MAX_CALLED_URL_BYTES: usize = 8192;

/// The ports below this one belong to system services; of those only 443 is ours to dial.
const FIRST_FREE_PORT: u16 = 1024;

/// Ports from 1024 up where data stores, brokers and cluster controls listen by habit.
const DATA_STORE_PORTS: [u16; 34] = [
    1433, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 4369, 5432, 5671, 5672, 5984, 6379, 6443, 7000, 7001, 7474,
    7687, 8086, 8500, 9042, 9092, 9160, 9200, 9300, 10250, 11211, 15672, 25672, 27017, 27018, 27019,
];

/// Endings of names that never lead to a public host.
const LOCAL_SUFFIXES: [&str; 3] = [".local", ".internal", ".localhost"];

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

/// Why a URL is not one that we send to, in a sentence for the person who registers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Longer than so many bytes.
    #[error("the URL is longer than {0} bytes")]
    TooLong(usize),
    /// It cannot be read as a URL with a host.
    #[error("the URL is not valid: write it as https://hooks.example.com/path")]
    Malformed,
    /// Not https.
    #[error("the URL must begin with https://")]
    Scheme,
    /// It carries a user name or a password.
    #[error("the URL must not carry a user name or a password")]
    UserInfo,
    /// A name that cannot be a public host: no dot, a dot at the end, or a local ending.
    #[error("the host must be a public name such as hooks.example.com")]
    HostName,
    /// A port of a system service or of a data store.
    #[error("port {0} is not allowed: use 443, or one from 1024 up where no database is expected")]
    Port(u16),
    /// It leads to an address that is not public.
    #[error(transparent)]
    Address(#[from] Denied),
}

impl UrlError {
    /// The stable code of this refusal in answers of the API.
    #[must_use]
    pub const fn slug(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "url_too_long",
            Self::Malformed => "url_malformed",
            Self::Scheme => "url_scheme",
            Self::UserInfo => "url_user_info",
            Self::HostName => "url_host",
            Self::Port(_) => "url_port",
            Self::Address(_) => "url_address",
        }
    }
}

/// A judged URL in its normal form: what is judged is what is dialled.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl {
    uri: Uri,
    https: bool,
    host: TargetHost,
    port: u16,
}

/// The host of a [`TargetUrl`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetHost {
    /// A name to be resolved: lower case, international names in their ASCII form.
    Name(String),
    /// A literal address; IPv4 inside IPv6 is already IPv4.
    Address(IpAddr),
}

impl TargetUrl {
    /// The URL for the request.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The host to resolve, or the literal address.
    #[must_use]
    pub const fn host(&self) -> &TargetHost {
        &self.host
    }

    /// The port, written or implied by the scheme.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_CALLED_URL_BYTES {
            return Err(UrlError::TooLong(MAX_CALLED_URL_BYTES));
        }
        // The parser would quietly drop or turn these; nobody writes them who means well.
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(UrlError::Malformed);
        }
        let mut url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::UserInfo);
        }
        url.set_fragment(None);
        let host = match url.host().ok_or(UrlError::Malformed)? {
            Host::Domain(name) => TargetHost::Name(dns_name(name)?),
            Host::Ipv4(address) => TargetHost::Address(address.into()),
            Host::Ipv6(address) => TargetHost::Address(IpAddr::V6(address).to_canonical()),
        };
        let port = url.port_or_known_default().ok_or(UrlError::Malformed)?;
        let uri: Uri = url.as_str().parse().map_err(|_| UrlError::Malformed)?;
        // Two parsers have read the text now; they must have read the same host and port.
        if uri.host() != url.host_str() || uri.port_u16() != url.port() {
            return Err(UrlError::Malformed);
        }
        Ok(Self { uri, https, host, port })
    }

    /// The rules about scheme, port and name for targets outside the allowed ranges.
    fn judge_form(&self) -> Result<(), UrlError> {
        if !self.https {
            return Err(UrlError::Scheme);
        }
        if (self.port < FIRST_FREE_PORT && self.port != 443) || DATA_STORE_PORTS.contains(&self.port) {
            return Err(UrlError::Port(self.port));
        }
        if let TargetHost::Name(name) = &self.host
            && (!name.contains('.') || LOCAL_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)))
        {
            return Err(UrlError::HostName);
        }
        Ok(())
    }
}

/// The text to store and to show: the whole URL. It may carry a token in its query.
impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

/// Host and port only: path and query may carry tokens, and this form ends up in logs.
impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetUrl").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// A name that DNS and TLS can both carry. A dot at its end is refused: TLS and HTTP treat it differently.
fn dns_name(name: &str) -> Result<String, UrlError> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(UrlError::HostName);
    }
    Ok(name.to_owned())
}

/// Where requests may go. The default is the public internet and nothing else.
#[derive(Clone, Debug, Default)]
pub struct EgressPolicy {
    allow_ranges: Vec<IpNet>,
}

impl EgressPolicy {
    /// A policy that exempts the targets in `allow_ranges` from the rules about address, scheme, port
    /// and name.
    #[must_use]
    pub const fn new(allow_ranges: Vec<IpNet>) -> Self {
        Self { allow_ranges }
    }

    /// Whether this address may be dialled.
    ///
    /// # Errors
    /// [`Denied`] when it is neither public nor in an allowed range.
    pub fn judge_address(&self, address: IpAddr) -> Result<(), Denied> {
        let address = address.to_canonical();
        if self.is_exempt(address) {
            return Ok(());
        }
        let kind = match address {
            IpAddr::V4(v4) => special_ipv4(v4),
            IpAddr::V6(v6) => special_ipv6(v6),
        };
        kind.map_or(Ok(()), |kind| Err(Denied { kind }))
    }

    /// Judges a URL as far as its text allows (see the head of this module).
    ///
    /// # Errors
    /// [`UrlError`], with a sentence for the person who registers the URL.
    pub fn judge_url(&self, text: &str) -> Result<TargetUrl, UrlError> {
        let target = TargetUrl::parse(text)?;
        match target.host {
            TargetHost::Address(address) => self.judge_reached(&target, address)?,
            TargetHost::Name(_) if self.allow_ranges.is_empty() => target.judge_form()?,
            TargetHost::Name(_) => {}
        }
        Ok(target)
    }

    /// Whether `target` may be reached at `address`, which its name resolved to or its literal means.
    ///
    /// # Errors
    /// [`UrlError`] when the address is not allowed, or the scheme, port or name are not allowed there.
    pub fn judge_reached(&self, target: &TargetUrl, address: IpAddr) -> Result<(), UrlError> {
        if self.is_exempt(address.to_canonical()) {
            return Ok(());
        }
        self.judge_address(address)?;
        target.judge_form()
    }

    /// Judges every address that `target` was found at, and gives what may be dialled: none is left out,
    /// one bad address refuses them all.
    ///
    /// # Errors
    /// [`UrlError`] of the first address that is refused.
    pub fn judge_all(&self, target: &TargetUrl, addresses: &[IpAddr]) -> Result<Vec<SocketAddr>, UrlError> {
        let judge = |address: &IpAddr| {
            self.judge_reached(target, *address)?;
            Ok(SocketAddr::new(address.to_canonical(), target.port))
        };
        addresses.iter().map(judge).collect()
    }

    fn is_exempt(&self, canonical: IpAddr) -> bool {
        self.allow_ranges.iter().any(|range| range.contains(&canonical))
    }
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

    fn loopback_allowed() -> EgressPolicy {
        EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()])
    }

    #[test]
    fn addresses_that_are_not_public_are_denied() {
        let policy = EgressPolicy::default();
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
            assert_eq!(policy.judge_address(text.parse().unwrap()), Err(Denied { kind }), "{text}");
        }
    }

    #[test]
    fn public_addresses_are_allowed() {
        let policy = EgressPolicy::default();
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
            assert_eq!(policy.judge_address(text.parse().unwrap()), Ok(()), "{text}");
        }
    }

    #[test]
    fn allowed_ranges_lift_their_addresses_only() {
        let policy = loopback_allowed();
        for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(policy.judge_address(text.parse().unwrap()), Ok(()), "{text}");
        }
        for text in ["10.0.0.1", "::2", "::127.0.0.1", "0.0.0.0", "::"] {
            assert!(policy.judge_address(text.parse().unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn every_spelling_of_loopback_is_refused() {
        for text in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://127.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0X7F.1/",
            "https://0177.0.0.1/",
            "https://017700000001/",
            "https://127.0.0.1./",
            "https://\u{2460}\u{2461}\u{2466}.0.0.1/",
            "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
            "https://127\u{3002}0\u{3002}0\u{ff0e}1/",
            "https://%31%32%37.0.0.1/",
            "https:127.0.0.1/",
            "https:///127.0.0.1/",
            "https://[::1]/",
            "https://[0:0:0:0:0:0:0:1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
        ] {
            let judged = EgressPolicy::default().judge_url(text);
            assert_eq!(judged, Err(UrlError::Address(Denied { kind: "loopback" })), "{text}");
        }
        assert_eq!(
            EgressPolicy::default().judge_url("https://0/").unwrap_err(),
            UrlError::Address(Denied { kind: "this network" })
        );
    }

    #[test]
    fn urls_are_refused_with_their_reason() {
        let long = format!("https://hooks.example.com/{}", "a".repeat(MAX_CALLED_URL_BYTES));
        for (text, error) in [
            (long.as_str(), UrlError::TooLong(MAX_CALLED_URL_BYTES)),
            ("", UrlError::Malformed),
            ("hooks.example.com/x", UrlError::Malformed),
            ("https://", UrlError::Malformed),
            ("https://256.0.0.1/", UrlError::Malformed),
            ("https://1.2.3.4.5/", UrlError::Malformed),
            ("https://[fe80::1%25eth0]/", UrlError::Malformed),
            ("https://hooks.example.com:99999/", UrlError::Malformed),
            (" https://hooks.example.com/", UrlError::Malformed),
            ("https://hooks.example.com/a\r\nHost: x", UrlError::Malformed),
            ("https://hooks.example.com\\@127.0.0.1/", UrlError::Malformed),
            ("http://hooks.example.com/", UrlError::Scheme),
            ("ftp://hooks.example.com/", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("gopher://127.0.0.1:6379/_x", UrlError::Scheme),
            ("https://user@hooks.example.com/", UrlError::UserInfo),
            ("https://:pw@hooks.example.com/", UrlError::UserInfo),
            ("https://hooks.example.com:443@127.0.0.1/", UrlError::UserInfo),
            ("https://localhost/", UrlError::HostName),
            ("https://LOCALHOST/", UrlError::HostName),
            ("https://localhost./", UrlError::HostName),
            ("https://a.localhost/", UrlError::HostName),
            ("https://intranet/", UrlError::HostName),
            ("https://printer.local/", UrlError::HostName),
            ("https://metadata.google.internal/", UrlError::HostName),
            ("https://hooks.example.com./", UrlError::HostName),
            ("https://hooks..example.com/", UrlError::HostName),
            ("https://hooks!.example.com/", UrlError::HostName),
            ("https://hooks.example.com:80/", UrlError::Port(80)),
            ("https://hooks.example.com:0/", UrlError::Port(0)),
            ("https://hooks.example.com:22/", UrlError::Port(22)),
            ("https://hooks.example.com:1023/", UrlError::Port(1023)),
            ("https://hooks.example.com:5432/", UrlError::Port(5432)),
            ("https://hooks.example.com:6379/", UrlError::Port(6379)),
            ("https://8.8.8.8:27017/", UrlError::Port(27017)),
            ("http://8.8.8.8/", UrlError::Scheme),
        ] {
            assert_eq!(EgressPolicy::default().judge_url(text), Err(error), "{text}");
        }
    }

    #[test]
    fn good_urls_come_out_in_their_normal_form() {
        for (text, shown, port) in [
            ("https://hooks.example.com", "https://hooks.example.com/", 443),
            ("HTTPS://Hooks.Example.COM:443/a?b=c#d", "https://hooks.example.com/a?b=c", 443),
            ("https://hooks.example.com:8443/a%20b", "https://hooks.example.com:8443/a%20b", 8443),
            ("https://hooks.example.com:1024/?q={click_id}", "https://hooks.example.com:1024/?q={click_id}", 1024),
            ("https://bücher.example/x", "https://xn--bcher-kva.example/x", 443),
            ("https://8.8.8.8/", "https://8.8.8.8/", 443),
            ("https://[2606:4700:4700::1111]/", "https://[2606:4700:4700::1111]/", 443),
        ] {
            let target = EgressPolicy::default().judge_url(text).unwrap();
            assert_eq!((target.to_string().as_str(), target.port()), (shown, port), "{text}");
            assert_eq!(EgressPolicy::default().judge_url(shown), Ok(target), "judging the normal form changes nothing");
        }
    }

    #[test]
    fn allowed_ranges_lift_scheme_port_and_name_for_what_lies_in_them() {
        let policy = loopback_allowed();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let public: IpAddr = "8.8.8.8".parse().unwrap();
        for text in ["http://127.1:6379/", "http://[::1]:80/", "http://[::ffff:127.0.0.1]:81/"] {
            assert!(policy.judge_url(text).is_ok(), "{text}");
        }
        assert_eq!(policy.judge_url("http://8.8.8.8/"), Err(UrlError::Scheme));
        assert_eq!(policy.judge_url("https://10.0.0.1/"), Err(UrlError::Address(Denied { kind: "private network" })));
        for (text, error) in [
            ("http://hooks.example.com:8080/", UrlError::Scheme),
            ("https://hooks.example.com:80/", UrlError::Port(80)),
            ("https://localhost/", UrlError::HostName),
        ] {
            let target = policy.judge_url(text).unwrap();
            assert_eq!(policy.judge_reached(&target, local), Ok(()), "{text}");
            assert_eq!(policy.judge_reached(&target, public), Err(error), "{text}");
        }
    }

    #[test]
    fn one_bad_address_refuses_the_name() {
        let policy = EgressPolicy::default();
        let target = policy.judge_url("https://hooks.example.com/").unwrap();
        let addresses: Vec<IpAddr> = ["8.8.8.8", "::ffff:9.9.9.9"].map(|text| text.parse().unwrap()).into();
        let dialled = policy.judge_all(&target, &addresses).unwrap();
        assert_eq!(dialled, ["8.8.8.8:443", "9.9.9.9:443"].map(|text| text.parse().unwrap()));
        for bad in ["10.0.0.1", "::1", "::ffff:10.0.0.1"] {
            let mixed = [addresses.clone(), vec![bad.parse().unwrap()]].concat();
            assert!(matches!(policy.judge_all(&target, &mixed), Err(UrlError::Address(_))), "{bad}");
        }
    }

    #[test]
    fn debug_hides_path_and_query() {
        let target = EgressPolicy::default().judge_url("https://hooks.example.com/tok1?key=tok2").unwrap();
        assert!(!format!("{target:?}").contains("tok"));
    }
}
