//! What `demo` and `bench` have in common: both stand outside of the service, as operators, admins and subscribers do.

pub mod client;
pub mod figures;
pub mod setup;
pub mod throwaway;
