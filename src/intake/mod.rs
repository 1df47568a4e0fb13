//! From the bytes of a request to a verdict: authenticate → verify → map → parse → judge → record.
//!
//! Everything up to the parsed postback is pure: bytes in, values out, nothing stored, nothing asked. What is
//! refused is refused with the exact code of RELIABILITY section 5, and no answer repeats the input. No verdict is
//! answered before it is durable.

pub mod access;
pub mod address;
pub mod catalog_cache;
pub mod click_writer;
pub mod customers;
pub mod fields;
pub mod holds;
pub mod inbound;
pub mod mapping;
pub mod parking;
pub mod parse;
pub mod rate;
pub mod recorder;
pub mod redact;
pub mod service;
pub mod settling;
pub mod storing;
pub mod visit;
