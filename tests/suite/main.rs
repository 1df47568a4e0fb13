//! The one integration test binary; each module is a subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that cannot go on says so by panicking, its helpers too"
)]

mod alerts;
mod borders;
mod cli;
mod config;
mod crash;
mod delivery;
mod docs;
mod http;
mod openapi;
mod payouts;
mod queue;
mod sender;
mod simulation;
mod store;
mod support;
mod tour;
