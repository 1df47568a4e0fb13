//! The embedded engine: one file, one writer, several readers.

mod dialect;
#[path = "../queries/mod.rs"]
mod queries;

pub use dialect::Engine;
