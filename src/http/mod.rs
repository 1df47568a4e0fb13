//! The HTTP room, the only one that knows actix: routes, problems, who is calling, and the document of it all.
//!
//! A handler extracts, calls one use case, converts, returns; one file for each resource. It writes only through a
//! use case or one method of the store. Guaranteed: every answer has a request id, every error is a problem document
//! with a stable code, and routes and `openapi.yaml` agree, because both come from the same annotations.

mod admin;
mod affiliate;
mod body;
mod clicks;
mod connection;
mod context;
mod customers;
mod docs;
mod extract;
mod observe;
mod ops;
mod page;
mod postbacks;
pub mod problem;
mod receipts;
mod redirect;
mod routes;
mod schema;
mod server;
pub mod state;
mod views;

pub use docs::{openapi, openapi_yaml};
pub use server::{Serving, serve};
