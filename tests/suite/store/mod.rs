//! Every method of the store, on both engines, races included.

mod parking;
mod recording;
