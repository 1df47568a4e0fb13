//! Refunds as events of their own: which conversion is meant, and which key makes a copy of one a duplicate.

use super::super::conversion::NamedBy;
use super::super::postback::Postback;
use super::super::verdict::{Code, ParkReason, Rejection};
use super::prepare::Attribution;
use super::{Booking, Outcome, Prepared, rejected};

impl Booking<'_> {
    /// Judges a refund. Its own event id leads to the original from now on; before its original it waits.
    pub(super) fn refund(&mut self, prepared: &Prepared, said: &Postback) -> Outcome {
        let target = |key: &Option<String>| key.as_deref().and_then(|key| self.key_target(key));
        let (own, original) = (target(&prepared.event_key), target(&prepared.original_key));
        match (own, original) {
            (Some(own), original) if prepared.original_key.is_some() && original != Some(own) => {
                let refused = Rejection::new(Code::ConflictingRevision);
                rejected(prepared, Some(own), refused.because("This event_id stands for another event already."))
            }
            (_, Some(id)) | (Some(id), None) => {
                let outcome = self.revise(prepared, said, id, NamedBy::Event);
                if outcome.rejection.is_none()
                    && let Some(key) = &prepared.event_key
                {
                    self.keys.insert(key.clone(), Some(id));
                }
                outcome
            }
            (None, None) => self.wait_for_original(prepared, said),
        }
    }

    fn wait_for_original(&mut self, prepared: &Prepared, said: &Postback) -> Outcome {
        let source_id = prepared.item.source_id;
        if let Some(wait_key) = prepared.original_key.as_ref().or(prepared.event_key.as_ref())
            && (said.original_event_id.is_some() || !matches!(prepared.attribution, Attribution::Parked { .. }))
        {
            return self.park(prepared, said, source_id, ParkReason::OriginalMissing, wait_key.clone());
        }
        // Without the original's event id only click and goal can say which one is meant.
        match &prepared.attribution {
            Attribution::Parked { reason, wait_key } => self.park(prepared, said, source_id, *reason, wait_key.clone()),
            Attribution::Known(_) | Attribution::Rejected(_) => self.not_created(prepared),
        }
    }
}
