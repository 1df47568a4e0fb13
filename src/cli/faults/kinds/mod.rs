//! What happens in each fault.

pub mod broker;
pub mod client;
pub mod database;
pub mod process;
pub mod receivers;
