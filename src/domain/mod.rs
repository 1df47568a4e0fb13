//! The rules that money depends on, as pure data and functions.
//!
//! Nobody here does I/O, reads a clock or names a framework: time and configuration come in as
//! arguments, decisions go out as values. `tests/suite/borders.rs` holds that line.

pub mod booking;
pub mod catalog;
pub mod click;
pub mod commission;
pub mod conversion;
pub mod customer;
pub mod dedup;
pub mod delivery;
pub mod encoding;
pub mod endpoint;
pub mod event;
pub mod exchange;
pub mod explanation;
pub mod ids;
pub mod ledger;
pub mod macros;
pub mod money;
pub mod outbox;
pub mod payout;
pub mod plan;
pub mod postback;
pub mod rates;
pub mod replay;
pub mod request;
pub mod retry;
pub mod secret;
pub mod signature;
pub mod time;
pub mod verdict;
