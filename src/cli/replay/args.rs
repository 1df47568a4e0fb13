//! The arguments of `postback replay`.

use std::time::Duration;

use crate::domain::event::EventType;
use crate::domain::ids::{AffiliateId, DeliveryId, EndpointId, OperatorId, ReceiptId, ReplayId, SourceId};
use crate::domain::replay::{Cause, SettledState, Unbooked, Window};
use crate::domain::retry::DeadReason;
use crate::domain::time::Timestamp;

/// Sends deliveries and judges receipts again, one or many; tried with --dry-run first
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(clap::Subcommand)]
pub(super) enum Command {
    Deliveries(Deliveries),
    Receipts(Receipts),
    /// Sends one delivery again, whatever became of it, under the same webhook-id
    #[command(after_help = help!("Example: postback replay delivery dl_…"))]
    Delivery {
        /// The delivery
        id: DeliveryId,
    },
    /// Judges one rejected or parked receipt again; whoever runs this vouches for it
    #[command(after_help = help!("Examples:
  postback replay receipt rc_… --dry-run
  postback replay receipt rc_…"))]
    Receipt {
        /// The receipt
        id: ReceiptId,
        /// Say what would become of it, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Lists the newest jobs
    #[command(after_help = help!("Example: postback replay list"))]
    List,
    /// Shows how far a job has come
    #[command(after_help = help!("Example: postback replay show rpl_…"))]
    Show {
        /// The job
        id: ReplayId,
    },
    /// Ends a job; what was replayed stays so
    #[command(after_help = help!("Example: postback replay cancel rpl_…"))]
    Cancel {
        /// The job
        id: ReplayId,
    },
}

/// Sends many deliveries again, each under its webhook-id
#[derive(clap::Args)]
#[command(after_help = help!("Examples:
  postback replay deliveries --endpoint ep_… --dry-run      (what is dead there)
  postback replay deliveries --endpoint ep_… --rate 20
  postback replay deliveries --affiliate aff_… --from 6h
  postback replay deliveries --state delivered --endpoint ep_… --from 2026-01-31T03:00:00Z --to 2026-01-31T04:00:00Z",
  "0 the job is done, or the dry run was answered; 1 the work failed, or the job was canceled; 2 the arguments or the \
   settings are not right"))]
pub(super) struct Deliveries {
    /// To this operator's endpoints
    #[arg(long, value_name = "op_…")]
    pub(super) operator: Option<OperatorId>,
    /// To this affiliate's endpoints
    #[arg(long, value_name = "aff_…")]
    pub(super) affiliate: Option<AffiliateId>,
    /// To this endpoint
    #[arg(long, value_name = "ep_…")]
    pub(super) endpoint: Option<EndpointId>,
    /// About this kind of event, such as commission.approved
    #[arg(long, value_name = "TYPE", value_parser = named::<EventType>)]
    pub(super) event_type: Option<EventType>,
    /// dead, or delivered: then --from is needed
    #[arg(long, value_name = "STATE", default_value = "dead", value_parser = named::<SettledState>)]
    pub(super) state: SettledState,
    /// attempts_exhausted or too_old
    #[arg(long, value_name = "REASON", value_parser = named::<DeadReason>)]
    pub(super) dead_reason: Option<DeadReason>,
    /// Those too that a person has acknowledged
    #[arg(long)]
    pub(super) acknowledged: bool,
    #[command(flatten)]
    pub(super) many: Many,
}

/// Judges many rejected or parked receipts again, by today's configuration
///
/// They book what their first arrival would have, once. Whoever runs this vouches for them: signature, time and address
/// are not judged again.
#[derive(clap::Args)]
#[command(after_help = help!("Examples:
  postback replay receipts --code unknown_goal --from 1d --dry-run
  postback replay receipts --code unknown_goal --from 1d
  postback replay receipts --source src_… --code signature_stale --from 2h
  postback replay receipts --verdict parked --operator op_…",
  "0 the job is done, or the dry run was answered; 1 the work failed, or the job was canceled; 2 the arguments or the \
   settings are not right"))]
pub(super) struct Receipts {
    /// Of this operator
    #[arg(long, value_name = "op_…")]
    pub(super) operator: Option<OperatorId>,
    /// That came through this source
    #[arg(long, value_name = "src_…")]
    pub(super) source: Option<SourceId>,
    /// rejected or parked
    #[arg(long, value_name = "VERDICT", default_value = "rejected", value_parser = named::<Unbooked>)]
    pub(super) verdict: Unbooked,
    /// For this reason, such as unknown_goal
    #[arg(long, value_name = "CODE")]
    pub(super) code: Option<Cause>,
    #[command(flatten)]
    pub(super) many: Many,
}

/// What replays of many have in common.
#[derive(clap::Args)]
pub(super) struct Many {
    /// From this time on: RFC 3339, or how long ago, such as 2h, 30m or 1d
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) from: Option<Moment>,
    /// Before this time, written alike
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) to: Option<Moment>,
    /// How many a second at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub(super) rate: i32,
    /// Say what would be replayed, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not wait for the end
    #[arg(long)]
    pub(super) detach: bool,
}

/// A time as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(age) => now.minus(age),
        }
    }
}

impl Many {
    /// The times that it is about.
    pub(super) fn window(&self, now: Timestamp) -> Window {
        Window { from: self.from.map(|from| from.before(now)), to: self.to.map(|to| to.before(now)) }
    }
}

/// A value of an enum, by its name in API and storage.
fn named<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|error| error.to_string().replace("unknown variant", "unknown name"))
}

/// RFC 3339, or how long ago.
fn moment(text: &str) -> Result<Moment, String> {
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        return Ok(Moment::At(time));
    }
    super::super::keys::lifetime(text)
        .map(Moment::Ago)
        .map_err(|_| "a time is RFC 3339 with a zone, 2026-01-31T03:00:00Z, or how long ago: 1d, 2h or 30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_two_ways() {
        let now = Timestamp::from_seconds(1_000_000).unwrap();
        let read = |text: &str| moment(text).map(|moment| moment.before(now).seconds());
        assert_eq!(read("2h"), Ok(1_000_000 - 7_200));
        assert_eq!(read("1970-01-02T00:00:00Z"), Ok(86_400));
        for bad in ["", "yesterday", "2026-01-31", "2h ago", "-1d"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_those_of_the_api() {
        assert_eq!(named::<EventType>("commission.approved"), Ok(EventType::CommissionApproved));
        assert_eq!(named::<SettledState>("delivered"), Ok(SettledState::Delivered));
        assert!(named::<DeadReason>("tired").is_err());
    }
}
