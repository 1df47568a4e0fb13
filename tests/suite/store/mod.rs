//! Every method of the store, on both engines, races included.

mod alerts;
mod cancellation;
mod configuration;
mod deliveries;
mod ledger;
mod migrations;
mod parking;
mod properties;
mod races;
mod reading;
mod recording;
