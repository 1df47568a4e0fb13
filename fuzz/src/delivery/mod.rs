//! Where we are willing to send.

pub mod egress;
