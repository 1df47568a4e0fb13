//! The engine for several instances.

mod dialect;
#[expect(clippy::duplicate_mod, reason = "the queries are written once and compiled for each engine")]
#[path = "../queries/mod.rs"]
mod queries;

pub use dialect::Engine;
