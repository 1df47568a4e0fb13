//! What `demo`, `bench` and the fault suite have in common: all stand outside of the service, as operators, admins and
//! subscribers do.

pub mod book;
pub mod client;
pub mod figures;
pub mod lane;
pub mod postback;
pub mod proof;
pub mod setup;
pub mod throwaway;
pub mod wire;
