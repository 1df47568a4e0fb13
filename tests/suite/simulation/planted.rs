//! Faults planted in what stands around the code, to prove that the judge is awake.

/// A plausible mistake of a store or a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A message of an older epoch claims the row.
    ClaimIgnoresEpoch,
    /// A message of an older attempt claims the row, whoever has a lease on it.
    ClaimIgnoresAttempt,
    /// A row is claimed before it is due.
    ClaimIgnoresDue,
    /// An attempt whose lease was lost changes the state.
    FinishIgnoresLease,
    /// A success that came after its lease settles nothing.
    FinishForgetsLateSuccess,
    /// What failed is taken for delivered.
    FailureDelivers,
    /// Leases never run out.
    NothingExpires,
    /// Leases run out before their time.
    ExpiresEarly,
    /// What ran out is taken for delivered.
    ExpiryDelivers,
    /// Refused hints do not come up before the hints' time is over.
    UnpublishedMarksNothing,
    /// Hints handed back do not come up before the hints' time is over.
    HandBackSwallows,
    /// A replay begins while an attempt runs.
    ReplayIgnoresLease,
    /// A postback that comes again is booked again.
    RecordForgetsKeys,
    /// A commit that is answered is taken back afterwards.
    CommitIsLost,
    /// Not a mistake, but to be borne: how far the database's clock is ahead cannot be asked from the start until it is calm.
    ClockIsNotTold,
}

/// All mistakes.
pub const PLANTED: [Planted; 14] = [
    Planted::ClaimIgnoresEpoch,
    Planted::ClaimIgnoresAttempt,
    Planted::ClaimIgnoresDue,
    Planted::FinishIgnoresLease,
    Planted::FinishForgetsLateSuccess,
    Planted::FailureDelivers,
    Planted::NothingExpires,
    Planted::ExpiresEarly,
    Planted::ExpiryDelivers,
    Planted::UnpublishedMarksNothing,
    Planted::HandBackSwallows,
    Planted::ReplayIgnoresLease,
    Planted::RecordForgetsKeys,
    Planted::CommitIsLost,
];
