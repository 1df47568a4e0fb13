//! Every method of the store, on both engines, races included.

mod alerts;
mod cancellation;
mod changes;
mod configuration;
mod customers;
mod deliveries;
mod earning;
mod earning_properties;
mod endpoints;
mod exchange;
mod holding;
mod ledger;
mod migrations;
mod parking;
mod payout_faults;
mod payout_terms;
mod payouts;
mod properties;
mod races;
mod reading;
mod recording;
mod refunds;
mod rejudging;
mod replays;
mod retention;
mod standing;
