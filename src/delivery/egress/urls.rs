//! How a URL must look: one parse into the only form that is dialled, and the rules about scheme, port and name.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use thiserror::Error;
use url::{Host, Url};

use super::addresses::Denied;

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
    /// The stable `reason` of this refusal in answers of the API.
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

    /// Reads the text of a URL; what does not depend on where it leads is judged here.
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
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
    pub(super) fn judge_form(&self) -> Result<(), UrlError> {
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
