//! From bytes to a postback.

pub mod address;
pub mod fields;
pub mod inbound;
pub mod mapping;
pub mod parse;
pub mod redact;
