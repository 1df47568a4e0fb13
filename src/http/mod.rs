//! The HTTP interface. actix-web is named here and nowhere else.

pub mod state;
