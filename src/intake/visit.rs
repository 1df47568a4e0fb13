//! A visitor follows a tracking link: a click id of our own, where to send the visitor, and what to remember.
//!
//! Nothing here can fail a visitor: what an affiliate's link carries is read leniently, cut to length, and what
//! cannot be read is left out. The visitor's address is remembered as a keyed hash only.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::catalog::{Catalog, Link, MacKey, Program, Status};
use crate::domain::click::{ClickId, LinkCode};
use crate::domain::encoding::lenient_percent_decode;
use crate::domain::time::Timestamp;
use crate::store::recording::NewClick;

/// What stands for the click's id in a program's destination.
pub const CLICK_ID_MACRO: &str = "{click_id}";
/// The most characters that are kept of a sub-id.
const MAX_SUB_CHARS: usize = 255;
/// The most characters that are kept of a user agent.
const MAX_USER_AGENT_CHARS: usize = 256;
/// The highest number of a sub-id.
const MAX_SUB_NUMBER: u8 = 30;
/// Bytes of the visitor's hashed address.
const IP_HASH_BYTES: usize = 16;

/// Who follows a link.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// From where.
    pub address: IpAddr,
    /// With what.
    pub user_agent: Option<&'a str>,
    /// The raw query string of the link.
    pub raw_query: &'a [u8],
}

/// Why a visitor is not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoVisit {
    /// No such link, or it, its program or its operator is switched off.
    #[error("no such link")]
    UnknownLink,
    /// There is no key to vouch for click ids yet.
    #[error("there is no key for click ids")]
    NoMacKey,
}

/// A visitor on the way.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Where to.
    pub destination: String,
    /// What to store.
    pub click: NewClick,
}

/// Sends a visitor on.
///
/// # Errors
/// See [`NoVisit`].
pub fn visit(catalog: &Catalog, link: &str, visitor: Visitor<'_>, now: Timestamp) -> Result<Visit, NoVisit> {
    let (link, program) = active_link(catalog, link).ok_or(NoVisit::UnknownLink)?;
    let mac_key = catalog.newest_mac_key().ok_or(NoVisit::NoMacKey)?;
    let click_id = ClickId::mint(link.code, now, mac_key.number, &mac_key.secret, rand::random()).to_string();
    // A click id is letters and digits, so it needs no percent-encoding.
    let destination = program.destination_url.replace(CLICK_ID_MACRO, &click_id);
    let click = NewClick {
        operator_id: program.operator_id,
        click_id,
        program_id: program.id,
        affiliate_id: link.affiliate_id,
        link_id: Some(link.id),
        clicked_at: now,
        received_at: now,
        subs: subs(visitor.raw_query),
        ip_hash: Some(ip_hash(mac_key, visitor.address)),
        user_agent: visitor.user_agent.map(|text| kept(text, MAX_USER_AGENT_CHARS)),
    };
    Ok(Visit { destination, click })
}

fn active_link<'a>(catalog: &'a Catalog, code: &str) -> Option<(&'a Link, &'a Program)> {
    let link = catalog.link(LinkCode::parse(code)?).filter(|link| link.status == Status::Active)?;
    let program = catalog.program(link.program_id).filter(|program| program.status == Status::Active)?;
    catalog.operator(program.operator_id).filter(|operator| operator.status == Status::Active)?;
    Some((link, program))
}

/// `sub1` to `sub30`, also written `s1` to `s30`; the first of each that is not empty.
fn subs(raw_query: &[u8]) -> BTreeMap<String, String> {
    let mut subs = BTreeMap::new();
    for segment in raw_query.split(|byte| *byte == b'&') {
        let mut halves = segment.splitn(2, |byte| *byte == b'=');
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        let Some(number) = sub_number(&decoded(name)) else { continue };
        let value = kept(&decoded(value), MAX_SUB_CHARS);
        if !value.is_empty() {
            subs.entry(format!("sub{number}")).or_insert(value);
        }
    }
    subs
}

fn sub_number(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("sub").or_else(|| name.strip_prefix('s'))?;
    let number: u8 = digits.parse().ok()?;
    ((1..=MAX_SUB_NUMBER).contains(&number) && digits == number.to_string()).then_some(number)
}

fn decoded(raw: &[u8]) -> String {
    let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    String::from_utf8_lossy(&lenient_percent_decode(&spaced)).into_owned()
}

/// The first characters of `text`, without control characters.
fn kept(text: &str, most_chars: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(most_chars).collect()
}

/// Tells visitors apart without telling who they are: the key is not in the same table.
fn ip_hash(mac_key: &MacKey, address: IpAddr) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104 section 2)")]
    let mut mac = Hmac::<Sha256>::new_from_slice(mac_key.secret.expose_bytes()).expect("HMAC takes any key");
    mac.update(b"visitor address|");
    mac.update(address.to_string().as_bytes());
    mac.finalize().into_bytes().into_iter().take(IP_HASH_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Vec<(String, String)> {
        subs(query.as_bytes()).into_iter().collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn sub_ids_are_read_leniently() {
        assert_eq!(read("sub1=a+b&s2=c%20d"), [pair("sub1", "a b"), pair("sub2", "c d")]);
        assert_eq!(read("s1=&sub1=x&s1=y"), [pair("sub1", "x")], "the first that is not empty");
        assert_eq!(read("sub0=a&sub31=b&sub01=c&sub=d&s=e&x1=f&sub2"), []);
        assert_eq!(read("sub1=%ZZ%0a%00&sub2=%ff"), [pair("sub1", "%ZZ"), pair("sub2", "\u{fffd}")]);
        assert_eq!(read(&format!("sub3={}", "x".repeat(300))), [pair("sub3", &"x".repeat(255))]);
        assert_eq!(read(""), []);
    }
}
