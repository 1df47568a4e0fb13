//! From an operator's request to a verdict: authenticate → verify → parse → record.
//!
//! Pure once the bytes are read, up to the recorder. Guaranteed: no verdict before it is durable.

pub mod catalog_cache;
pub mod click_writer;
pub mod parking;
pub mod recorder;
