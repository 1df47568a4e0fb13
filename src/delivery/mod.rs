//! From a due delivery to a receiver's answer.

mod answer;
pub mod connector;
pub mod egress;
pub mod sender;
