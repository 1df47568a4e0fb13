//! Every method of the store, on both engines, races included.

mod deliveries;
mod parking;
mod races;
mod recording;
