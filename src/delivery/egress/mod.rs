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
//!
//! `addresses` knows what is public, `urls` how a URL must look; the policy here joins them.

mod addresses;
#[cfg(test)]
mod tests;
mod urls;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

pub use addresses::Denied;
pub use urls::{MAX_CALLED_URL_BYTES, MAX_URL_BYTES, TargetHost, TargetUrl, UrlError};

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
        if self.is_exempt(address.to_canonical()) { Ok(()) } else { addresses::judge_public(address) }
    }

    /// Judges a URL as far as its text allows (see the head of this module).
    ///
    /// # Errors
    /// [`UrlError`], with a sentence for the person who registers the URL.
    pub fn judge_url(&self, text: &str) -> Result<TargetUrl, UrlError> {
        let target = TargetUrl::parse(text)?;
        match target.host() {
            TargetHost::Address(address) => self.judge_reached(&target, *address)?,
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
            Ok(SocketAddr::new(address.to_canonical(), target.port()))
        };
        addresses.iter().map(judge).collect()
    }

    fn is_exempt(&self, canonical: IpAddr) -> bool {
        self.allow_ranges.iter().any(|range| range.contains(&canonical))
    }
}
