//! From a due delivery to a receiver's answer.
//!
//! The relay hints at deliveries through the queue; a worker takes the endpoint's permit, claims the row under
//! a lease, signs, sends, and writes how it ended. The sweeper brings up again what was forgotten. Guaranteed:
//! every delivery is attempted until it is delivered or dead, whatever crashes in between; the same event carries
//! the same `webhook-id` at every attempt. Deliberately not guaranteed: exactly one POST; a crash between a
//! receiver's 200 and our commit sends it again (RELIABILITY section 3).

mod answer;
pub mod breaker;
pub mod commits;
pub mod connector;
pub mod disabling;
pub mod egress;
pub mod holding;
pub mod permits;
pub mod relay;
pub mod request;
pub mod resolver;
pub mod sender;
pub mod sweeper;
pub mod worker;
