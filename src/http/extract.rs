//! Who is calling, as arguments of handlers: a handler that takes an [`AdminKey`] is reached by admins only.

use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use super::context::Context;
use super::observe::Facts;
use super::problem::Problem;
use crate::domain::ids::{AffiliateId, KeyId, OperatorId, RequestId};
use crate::domain::request::Headers;
use crate::domain::verdict::{Code, Rejection};
use crate::intake::access::{Caller, identify};
use crate::intake::address::{ForwardedHeader, client_address};

/// The headers of a request as plain pairs.
#[must_use]
pub fn header_pairs(request: &HttpRequest) -> Vec<(&str, &[u8])> {
    request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// Where a request comes from, judged through the trusted proxies.
#[must_use]
pub fn address_of(request: &HttpRequest, context: &Context) -> IpAddr {
    // Only a test without a socket has no peer.
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let proxies = &context.parts().settings.server.trusted_proxies;
    client_address(peer, Headers(&header_pairs(request)), ForwardedHeader::default(), proxies)
}

/// The id of a request, as it is stored.
#[must_use]
pub fn request_id(request: &HttpRequest, context: &Context) -> RequestId {
    Facts::get(request).map_or_else(|| RequestId::new(context.parts().clock.now()), |facts| facts.request_id())
}

/// What handlers work with.
///
/// # Errors
/// `unavailable` in an application that was put together without it.
pub fn context_of(request: &HttpRequest) -> Result<&Context, Problem> {
    let context = request.app_data::<web::Data<Context>>();
    context.map(|context| context.get_ref()).ok_or_else(|| Problem::of(Code::Unavailable))
}

/// The holder of the key that a request presents; address, rate and role are not judged yet.
///
/// # Errors
/// `unauthenticated`.
pub fn caller_of(request: &HttpRequest, context: &Context) -> Result<Caller, Problem> {
    let pairs = header_pairs(request);
    let address = address_of(request, context);
    let caller = identify(&context.catalog(), Headers(&pairs), address, context.parts().clock.now())
        .inspect_err(|_| context.parts().metrics.unauthenticated.inc())?;
    if let Some(facts) = Facts::get(request) {
        facts.set_key(caller.key.id);
    }
    Ok(caller)
}

/// Uses the caller's key once.
///
/// # Errors
/// `rate_limited`.
pub fn take_rate(request: &HttpRequest, context: &Context, caller: &Caller) -> Result<(), Problem> {
    let allowance = caller.take_rate(context.rates())?;
    if let Some(facts) = Facts::get(request) {
        facts.set_allowance(allowance);
    }
    Ok(())
}

/// A caller whose key, address and rate are in order.
fn admitted(request: &HttpRequest) -> Result<Caller, Problem> {
    let context = context_of(request)?;
    let caller = caller_of(request, context)?;
    caller.judge_address()?;
    take_rate(request, context, &caller)?;
    Ok(caller)
}

/// An admin.
#[derive(Clone, Copy, Debug)]
pub struct AdminKey {
    /// The key that is used: who answers for what is done.
    pub key_id: KeyId,
}

/// An operator's server.
#[derive(Clone, Copy, Debug)]
pub struct OperatorKey {
    /// The operator.
    pub operator_id: OperatorId,
    /// The key that is used.
    pub key_id: KeyId,
}

/// An affiliate.
#[derive(Clone, Copy, Debug)]
pub struct AffiliateKey {
    /// The affiliate.
    pub affiliate_id: AffiliateId,
}

macro_rules! extracted {
    ($($name:ident, $read:expr;)+) => {$(
        impl FromRequest for $name {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
                let read: fn(&HttpRequest) -> Result<Self, Problem> = $read;
                ready(read(request))
            }
        }
    )+};
}

extracted! {
    AdminKey, |request| {
        let caller = admitted(request)?;
        caller.admin()?;
        Ok(Self { key_id: caller.key.id })
    };
    OperatorKey, |request| {
        let caller = admitted(request)?;
        let (operator_id, _source_id) = caller.operator()?;
        Ok(Self { operator_id, key_id: caller.key.id })
    };
    AffiliateKey, |request| Ok(Self { affiliate_id: admitted(request)?.affiliate()? });
}

/// What tells one wish from another: the header `Idempotency-Key`, which must be there.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(pub String);

/// The longest idempotency key, in characters.
const MAX_IDEMPOTENCY_KEY: usize = 200;

impl FromRequest for IdempotencyKey {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let name = "Idempotency-Key";
        let mut given = request.headers().get_all(name);
        let (first, second) = (given.next(), given.next());
        let Some(first) = first else {
            return ready(Err(Rejection::of_field(Code::MissingField, name).into()));
        };
        let text = first.to_str().ok().filter(|text| {
            (1..=MAX_IDEMPOTENCY_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let key = text.filter(|_| second.is_none()).map(|text| Self(text.to_owned()));
        ready(key.ok_or_else(|| Problem::of_field(name, "One key of 1 to 200 visible ASCII characters.")))
    }
}

/// The `{id}` of a path. What is not an id names nothing: 404.
#[derive(Clone, Copy, Debug)]
pub struct PathId<T>(pub T);

impl<T: FromStr> FromRequest for PathId<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let id = request.match_info().get("id").and_then(|text| text.parse().ok());
        ready(id.map(Self).ok_or_else(Problem::not_found))
    }
}
