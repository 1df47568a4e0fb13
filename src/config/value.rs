//! How one setting's text becomes its type, and back.
//!
//! Every setting arrives as text, from the file or from the environment, and is parsed here. An error
//! says what is wrong without quoting the text: the caller quotes it, unless it is a secret.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use super::types::{ByteSize, DatabaseUrl, LogFormat};
use crate::domain::money::Amount;
use crate::domain::retry::Ladder;

/// What is shown in place of a secret.
pub(super) const MASK: &str = "(hidden)";

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// What it is, for the documentation: "duration".
    const KIND: &'static str;
    /// What to write, with an example; completes "write …".
    const WRITE: &'static str;
    /// Whether the text must never be shown.
    const SECRET: bool = false;

    /// Reads the text; the error completes "`text` …", such as "is not a duration".
    fn parse(text: &str) -> Result<Self, String>;

    /// The text that `parse` reads back as this value; [`MASK`] for a secret.
    fn show(&self) -> String;
}

impl Value for Duration {
    const KIND: &'static str = "duration";
    const WRITE: &'static str = "a whole number and its unit, such as 250ms, 30s, 2m, 1h or 90d";

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is not a duration".to_owned();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let unit = text.strip_prefix(digits).unwrap_or_default();
        let millis_each = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, millis)| *millis).ok_or_else(wrong)?;
        let count = whole(digits).ok_or_else(wrong)?;
        count.checked_mul(millis_each).map(Self::from_millis).ok_or_else(wrong)
    }

    fn show(&self) -> String {
        let millis = self.as_millis();
        let fits = |(_, each): &&(&str, u64)| millis >= u128::from(*each) && millis.is_multiple_of(u128::from(*each));
        UNITS
            .iter()
            .rfind(fits)
            .map_or_else(|| format!("{millis}ms"), |(unit, each)| format!("{}{unit}", millis / u128::from(*each)))
    }
}

/// Units of time with their milliseconds, shortest first.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Value for ByteSize {
    const KIND: &'static str = "size";
    const WRITE: &'static str = "a whole number of bytes, or one with its unit: 65536, 64KiB or 1MiB";

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is not a size".to_owned();
        let (digits, each) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
            (Some(digits), _) => (digits, KIB),
            (_, Some(digits)) => (digits, MIB),
            _ => (text, 1),
        };
        let bytes = whole(digits).and_then(|count| count.checked_mul(each)).ok_or_else(wrong)?;
        usize::try_from(bytes).map(Self::new).map_err(|_| wrong())
    }

    fn show(&self) -> String {
        let bytes = self.get();
        match (u64::try_from(bytes).unwrap_or(u64::MAX), bytes) {
            (wide, _) if wide >= MIB && wide.is_multiple_of(MIB) => format!("{}MiB", wide / MIB),
            (wide, _) if wide >= KIB && wide.is_multiple_of(KIB) => format!("{}KiB", wide / KIB),
            (_, bytes) => bytes.to_string(),
        }
    }
}

impl Value for Amount {
    const KIND: &'static str = "amount";
    const WRITE: &'static str = "a plain decimal with at most six decimals, such as 250 or 12.50";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "is not an amount".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * 1_024;

/// A whole number in plain digits; `from_str` of the integers would take a plus sign too.
fn whole(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

macro_rules! whole_numbers {
    ($($number:ty),+) => {$(
        impl Value for $number {
            const KIND: &'static str = "number";
            const WRITE: &'static str = "a whole number in plain digits";

            fn parse(text: &str) -> Result<Self, String> {
                let wrong = || "is not a whole number of a possible size".to_owned();
                whole(text).and_then(|number| Self::try_from(number).ok()).ok_or_else(wrong)
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

whole_numbers!(u16, u32, u64, usize);

impl Value for String {
    const KIND: &'static str = "text";
    const WRITE: &'static str = "some text";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "path";
    const WRITE: &'static str = "a path, absolute or from the working directory";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".to_owned()) } else { Ok(Self::from(text)) }
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for SocketAddr {
    const KIND: &'static str = "address and port";
    const WRITE: &'static str = "an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "is not an IP address with a port".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for SecretString {
    const KIND: &'static str = "secret";
    const WRITE: &'static str = "some text";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".to_owned()) } else { Ok(Self::from(text)) }
    }

    fn show(&self) -> String {
        MASK.to_owned()
    }
}

/// An empty text is the absence of an optional setting, so that an environment can take back what a file sets.
impl<T: Value> Value for Option<T> {
    const KIND: &'static str = T::KIND;
    const WRITE: &'static str = T::WRITE;
    const SECRET: bool = T::SECRET;

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

impl Value for Vec<IpNet> {
    const KIND: &'static str = "address ranges";
    const WRITE: &'static str = "addresses or ranges with commas between them, such as 10.0.0.0/8, ::1";

    fn parse(text: &str) -> Result<Self, String> {
        let range = |item: &str| item.parse::<IpNet>().ok().or_else(|| item.parse::<IpAddr>().ok().map(IpNet::from));
        items(text)
            .map(|item| range(item).ok_or_else(|| "is not a list of IP addresses and ranges".to_owned()))
            .collect()
    }

    fn show(&self) -> String {
        self.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl Value for Vec<SocketAddr> {
    const KIND: &'static str = "name servers";
    const WRITE: &'static str =
        "IP addresses with commas between them, with a port if it is not 53: 9.9.9.9, [::1]:5353";

    fn parse(text: &str) -> Result<Self, String> {
        let server = |item: &str| {
            let alone = || item.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, DNS_PORT));
            item.parse::<SocketAddr>().ok().or_else(alone).filter(|server| server.port() != 0)
        };
        items(text).map(|item| server(item).ok_or_else(|| "is not a list of IP addresses".to_owned())).collect()
    }

    fn show(&self) -> String {
        self.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// Where name servers listen.
const DNS_PORT: u16 = 53;

impl Value for Ladder {
    const KIND: &'static str = "durations";
    const WRITE: &'static str = "durations from the shortest to the longest with commas between them: 30s, 2m, 10m, 1h";

    fn parse(text: &str) -> Result<Self, String> {
        let rungs = items(text).map(Duration::parse).collect::<Result<_, _>>();
        let rungs = rungs.map_err(|_| "is not a list of durations".to_owned())?;
        Self::new(rungs).map_err(|sentence| format!("is not a ladder ({sentence})"))
    }

    fn show(&self) -> String {
        self.rungs().iter().map(Duration::show).collect::<Vec<_>>().join(", ")
    }
}

/// The items of a list in text form; an empty text is an empty list.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(move |_| !text.trim().is_empty())
}

impl Value for LogFormat {
    const KIND: &'static str = "text or json";
    const WRITE: &'static str = "text or json";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("is not a log format".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Json => "json".to_owned(),
        }
    }
}

impl Value for DatabaseUrl {
    const KIND: &'static str = "database URL";
    const WRITE: &'static str = "sqlite:<path of a file> or postgres://<user>@<host>/<database>";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let after = |scheme: &str| text.strip_prefix(scheme).filter(|rest| !rest.is_empty());
        if after("postgres://").or_else(|| after("postgresql://")).is_some() {
            return Ok(Self::Postgres(SecretString::from(text)));
        }
        let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"));
        match path {
            Some(path) if path.contains(":memory:") => Err("names a database in memory, which forgets".to_owned()),
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err("is not the URL of a database that is supported".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(_) => MASK.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_need_a_whole_number_and_a_unit() {
        assert_eq!(Duration::parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(Duration::parse("90d"), Ok(Duration::from_secs(90 * 86_400)));
        for text in ["", "30", "s", "1.5s", "-1s", "+1s", " 1s", "1 s", "1w", "1S", "1h30m", "99999999999999999999s"] {
            assert_eq!(Duration::parse(text), Err("is not a duration".to_owned()), "{text:?}");
        }
        assert_eq!(Duration::parse("213503982335d"), Err("is not a duration".to_owned()), "more than a u64 holds");
    }

    #[test]
    fn sizes_take_binary_units() {
        assert_eq!(ByteSize::parse("64KiB").unwrap().get(), 65_536);
        assert_eq!(ByteSize::parse("1MiB").unwrap().get(), 1_048_576);
        assert_eq!(ByteSize::parse("7").unwrap().get(), 7);
        for text in ["", "64kb", "64 KiB", "KiB", "-1", "1GiB"] {
            assert!(ByteSize::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn database_urls_name_a_file_or_a_server() {
        let path = |text: &str| match DatabaseUrl::parse(text) {
            Ok(DatabaseUrl::Sqlite(path)) => path.display().to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(path("sqlite:a/b.sqlite"), "a/b.sqlite");
        assert_eq!(path("sqlite:///var/b.sqlite"), "/var/b.sqlite");
        for text in ["", "sqlite:", "sqlite::memory:", "postgres://", "mysql://host/x", "/some/path"] {
            assert!(DatabaseUrl::parse(text).is_err(), "{text:?}");
        }
        let server = DatabaseUrl::parse("postgres://u:hunter2@h/d").unwrap();
        assert!(!format!("{server:?}{}", server.show()).contains("hunter2"));
    }

    #[test]
    fn lists_take_bare_addresses_and_nothing() {
        let ranges = Vec::<IpNet>::parse("10.0.0.0/8, ::1").unwrap();
        assert_eq!(ranges.show(), "10.0.0.0/8, ::1/128");
        assert_eq!(Vec::<IpNet>::parse(""), Ok(vec![]));
        assert!(Vec::<IpNet>::parse("10.0.0.0/8,").is_err());
        assert!(Vec::<IpNet>::parse("10.0.0.0/33").is_err());
    }

    #[test]
    fn name_servers_may_leave_out_the_port() {
        let servers = Vec::<SocketAddr>::parse("9.9.9.9, 127.0.0.1:5353, ::1, [::1]:5353").unwrap();
        assert_eq!(servers.show(), "9.9.9.9:53, 127.0.0.1:5353, [::1]:53, [::1]:5353");
        assert_eq!(Vec::<SocketAddr>::parse(&servers.show()), Ok(servers));
        assert_eq!(Vec::<SocketAddr>::parse(""), Ok(vec![]));
        for wrong in ["dns.example.com", "9.9.9.9:0", "9.9.9.9:99999", "9.9.9.9,", "[::1]"] {
            assert!(Vec::<SocketAddr>::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ladder_ascends() {
        assert_eq!(Ladder::parse("30s, 2m").unwrap().show(), "30s, 2m");
        assert!(Ladder::parse("2m, 30s").unwrap_err().contains("shortest to the longest"));
        assert!(Ladder::parse("").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0u64..10_000_000_000, bytes in 0usize..1 << 40) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(Duration::parse(&duration.show()), Ok(duration));
            let size = ByteSize::new(bytes);
            prop_assert_eq!(ByteSize::parse(&size.show()), Ok(size));
        }

        #[test]
        fn any_text_is_refused_or_read_without_a_panic(text in ".{0,40}") {
            let _ = Duration::parse(&text).map(|value| value.show());
            let _ = ByteSize::parse(&text).map(|value| value.show());
            let _ = DatabaseUrl::parse(&text).map(|value| value.show());
            let _ = Ladder::parse(&text).map(|value| value.show());
            let _ = Vec::<IpNet>::parse(&text).map(|value| value.show());
        }
    }
}
