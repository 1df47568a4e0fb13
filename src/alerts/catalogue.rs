//! The alerts that exist: their names, who can see them, and what a person should do.
//!
//! Names are part of the interface: metrics, webhooks, Prometheus rules and `docs/operations.md` use them, and a test
//! holds that page to this list.

macro_rules! alerts {
    ($($(#[doc = $doc:literal])+ $name:ident = $slug:literal, $reach:ident, $advice:literal;)+) => {
        /// Something that is watched.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Alert {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Alert {
            /// Every alert.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $slug,)+ }
            }

            /// Who can see whether it holds.
            #[must_use]
            pub const fn reach(self) -> Reach {
                match self { $(Self::$name => Reach::$reach,)+ }
            }

            /// What a person should do.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)+ }
            }
        }
    };
}

/// Who can see whether an alert holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every instance sees the same: whoever sees that it no longer holds may close it.
    Everyone,
    /// An instance sees only its own: the alert closes when none has seen it hold for a while.
    EachItsOwn,
}

alerts! {
    /// More deliveries are overdue than the threshold allows (RELIABILITY section 9). The value is how many.
    QueueDepth = "queue_depth", Everyone, "More deliveries are overdue than the threshold allows: look at /readyz for the \
        queue, and at /v1/admin/deliveries?state=pending for endpoints that do not answer.";
    /// A delivery has been due for long. The value is the age of the oldest in seconds.
    OldestDue = "oldest_due", Everyone, "A subscriber has not been told of something for long: find its endpoint in \
        /v1/admin/deliveries?state=pending (the last page is the oldest) and talk to its owner, or pause it.";
    /// Deliveries are dead and wait for a person. The value is how many.
    DeadLetters = "dead_letters", Everyone, "Deliveries were given up: look at /v1/admin/deliveries?state=dead&acknowledged=false, mend the \
        cause with the endpoint's owner, then replay them, or acknowledge them with a note.";
    /// The queue holds messages that cannot be read. The value is how many.
    PoisonNotEmpty = "poison_not_empty", Everyone, "The broker's poison queue holds messages that no instance could read, \
        which should never happen: look at one with the broker's tools, find out who wrote it, then purge the queue. \
        No delivery is lost by that.";
    /// The queue is out of order for an instance.
    BrokerUnreachable = "broker_unreachable", EachItsOwn, "An instance cannot publish to or consume from the broker: look \
        at /readyz of each instance, then at the broker. Postbacks are taken in meanwhile, and after a minute deliveries \
        go on without it.";
    /// The queue refuses messages of an instance.
    PublishRefused = "publish_refused", EachItsOwn, "The broker answers but refuses messages: a queue is full, or a queue \
        or binding was deleted. Look at the depths at /metrics; what is missing is declared again by itself, \
        so find out who deletes it.";
    /// The database takes no writes of an instance. It is told by each instance for itself and kept once it is over.
    DatabaseUnreachable = "database_unreachable", EachItsOwn, "The database takes no writes: senders are answered 503 and \
        try again. Look at the database, its disk and the network.";
    /// A source that used to send is silent. Its subject is the source, its value the seconds.
    SourceSilent = "source_silent", Everyone, "A source that used to send has been silent for long: look at its latest \
        receipts, and ask the operator whether its sending stopped. Switch the source off if it is meant to.";
    /// A source signs with an old secret. Its subject is the source, its value the secret's age in days.
    SecretOld = "secret_old", Everyone, "A source signs with a secret that is older than allowed: make a new one with \
        POST /v1/admin/sources/{id}/secrets and give it to the operator; the old one stays valid for the overlap.";
    /// Payouts under way have taken no step for long. The value is how many.
    PayoutStuck = "payout_stuck", Everyone, "Payouts have taken no step for long: look at /v1/admin/payouts for those that are \
        neither completed, returned nor canceled, and take the next step, or return the money to the balance.";
}

impl Alert {
    /// The alert of this name; `None` for one of another version of this program.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|alert| alert.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_one_of_a_kind_and_advice_is_a_sentence() {
        let names: BTreeSet<_> = Alert::ALL.iter().map(|alert| alert.as_str()).collect();
        assert_eq!(names.len(), Alert::ALL.len());
        for alert in Alert::ALL {
            assert_eq!(Alert::from_name(alert.as_str()), Some(*alert));
            assert!(alert.advice().ends_with('.') && !alert.advice().contains("  "), "{alert:?}");
        }
        assert_eq!(Alert::from_name("of_a_later_version"), None);
    }
}
