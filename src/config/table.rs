//! The settings: the one list from which the structs, the defaults, the known names, the limits and
//! `docs/configuration.md` are made. To add a setting, add a line here and regenerate the document.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use super::check;
use super::sources::Reader;
use super::types::{ByteSize, DatabaseUrl, LogFormat};
use super::value::Value;
use crate::domain::money::Amount;
use crate::domain::retry::Ladder;

/// One setting, as errors and the documentation speak of it.
pub(super) struct Known {
    /// `section.key`, or `key` alone.
    pub(super) name: &'static str,
    /// What type it has.
    pub(super) kind: &'static str,
    /// Its default in text form; empty for none.
    pub(super) default: &'static str,
    /// The smallest and the largest value, both allowed.
    pub(super) limits: Option<(&'static str, &'static str)>,
    /// What it is.
    pub(super) doc: &'static [&'static str],
}

/// The settings of one subject.
pub(super) struct Section {
    /// Its table in the file; empty for those at the top.
    pub(super) name: &'static str,
    /// What the subject is.
    pub(super) doc: &'static [&'static str],
    /// Its settings.
    pub(super) settings: &'static [Known],
}

/// The values of a macro's optional limits.
macro_rules! limits {
    () => {
        None
    };
    ($low:literal $high:literal) => {
        Some(($low, $high))
    };
}

/// How to read one setting: parse, then hold it to its limits and its check.
macro_rules! read {
    ($reader:ident, $name:expr, $type:ty, $default:literal, ($($low:literal $high:literal)?) ($($check:path)?)) => {
        $reader.read::<$type>(
            $name,
            $default,
            &[$(&|value: &$type| check::within(value, $low, $high),)? $(&|value: &$type| $check(value),)?],
        )
    };
}

macro_rules! settings {
    (
        top { $(
            $(#[doc = $doc:literal])+
            $key:ident: $type:ty = $default:literal $(within $low:literal to $high:literal)? $(check $check:path)?;
        )+ }
        $(
            $(#[doc = $section_doc:literal])+
            $section:ident: $Section:ident { $(
                $(#[doc = $sub_doc:literal])+
                $sub:ident: $sub_type:ty = $sub_default:literal
                    $(within $sub_low:literal to $sub_high:literal)? $(check $sub_check:path)?;
            )+ }
        )+
    ) => {
        /// Every setting of the service, validated. Made by [`Settings::from_pairs`] or [`super::Sources::settings`].
        #[derive(Clone, Debug)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $key: $type,)+
            $($(#[doc = $section_doc])+ pub $section: $Section,)+
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug)]
            pub struct $Section {
                $($(#[doc = $sub_doc])+ pub $sub: $sub_type,)+
            }
        )+

        /// Every setting, in the order of the documentation.
        pub(super) const SECTIONS: &[Section] = &[
            Section {
                name: "",
                doc: &[],
                settings: &[$(Known {
                    name: stringify!($key),
                    kind: <$type as Value>::KIND,
                    default: $default,
                    limits: limits!($($low $high)?),
                    doc: &[$($doc),+],
                }),+],
            },
            $(Section {
                name: stringify!($section),
                doc: &[$($section_doc),+],
                settings: &[$(Known {
                    name: concat!(stringify!($section), ".", stringify!($sub)),
                    kind: <$sub_type as Value>::KIND,
                    default: $sub_default,
                    limits: limits!($($sub_low $sub_high)?),
                    doc: &[$($sub_doc),+],
                }),+],
            },)+
        ];

        impl Settings {
            /// Reads every setting, its default where it is not given; what is wrong is noted by the reader.
            /// `None` only when a default cannot be read.
            pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
                $(let $key = read!(reader, stringify!($key), $type, $default, ($($low $high)?) ($($check)?));)+
                $(let $section = {
                    $(let $sub = read!(
                        reader,
                        concat!(stringify!($section), ".", stringify!($sub)),
                        $sub_type,
                        $sub_default,
                        ($($sub_low $sub_high)?) ($($sub_check)?)
                    );)+
                    (|| Some($Section { $($sub: $sub?),+ }))()
                };)+
                Some(Self { $($key: $key?,)+ $($section: $section?,)+ })
            }

            /// Every setting with its effective value as text; secrets are hidden.
            #[must_use]
            pub fn shown(&self) -> Vec<(&'static str, String)> {
                vec![
                    $((stringify!($key), self.$key.show()),)+
                    $($((concat!(stringify!($section), ".", stringify!($sub)), self.$section.$sub.show()),)+)+
                ]
            }
        }
    };
}

settings! {
    top {
        /// The folder for the service's own files: the SQLite database and its key file. Made at the first start.
        data_dir: PathBuf = "postback-data";
        /// The key that encrypts stored secrets: 32 bytes in base64. Required on PostgreSQL. On SQLite a key file beside
        /// the database is made at the first start when this is not set.
        master_key: Option<SecretString> = "" check check::master_key;
    }

    /// The HTTP server.
    server: Server {
        /// Where it listens. Port 0 takes a free one.
        listen: SocketAddr = "127.0.0.1:8080";
        /// The address under which others reach the service; used in links and hints.
        public_url: Option<String> = "" check check::web_address;
        /// The proxies whose `X-Forwarded-For` is believed. Empty: the peer's own address is the client's.
        trusted_proxies: Vec<IpNet> = "";
        /// Threads that serve requests.
        threads: usize = "2" within "1" to "256";
        /// How long a client may take to send the head of a request.
        head_timeout: Duration = "5s" within "100ms" to "1m";
        /// How long a client may take to send the body of a request.
        body_timeout: Duration = "10s" within "100ms" to "2m";
        /// The longest body of one postback.
        max_body: ByteSize = "64KiB" within "1KiB" to "16MiB";
        /// How long running work may take to finish after a stop is asked for; what runs on is cut off then.
        drain: Duration = "30s" within "100ms" to "10m";
    }

    /// The database that holds the truth.
    database: Database {
        /// `sqlite:<path>` or `postgres://…`; also read from `DATABASE_URL`. Default: the file `postback.sqlite` in `data_dir`.
        url: Option<DatabaseUrl> = "";
        /// Connections to PostgreSQL, or readers of SQLite beside the one writer.
        max_connections: u32 = "10" within "2" to "500";
        /// How long to wait for a free connection before the work is refused.
        acquire_timeout: Duration = "3s" within "50ms" to "1m";
        /// How long to wait for a lock that another transaction holds.
        lock_timeout: Duration = "2s" within "50ms" to "1m";
        /// How long one statement may run on PostgreSQL.
        statement_timeout: Duration = "10s" within "100ms" to "10m";
    }

    /// The queue of hints about deliveries.
    queue: Queue {
        /// The broker, `amqp://…` or `amqps://…`; also read from `AMQP_URL`. Without it the queue lives in this process,
        /// and only one instance may run on the database.
        amqp_url: Option<SecretString> = "" check check::amqp_url;
        /// What the names of exchanges and queues start with.
        prefix: String = "postback" check check::queue_prefix;
        /// Channels that publish, one message in flight on each.
        publish_channels: usize = "8" within "1" to "256";
        /// Messages that the broker hands to this instance ahead of their acknowledgement.
        prefetch: u16 = "64" within "1" to "10000";
        /// Messages that one queue of the broker holds before it refuses more.
        max_length: u32 = "1000000" within "1" to "100000000";
        /// How long to wait for the broker to confirm a message.
        confirm_timeout: Duration = "10s" within "100ms" to "2m";
        /// How long to wait for the broker to answer any other call.
        call_timeout: Duration = "5s" within "100ms" to "2m";
        /// Messages that the queue in this process holds before it refuses more.
        embedded_capacity: usize = "100000" within "1" to "10000000";
    }

    /// Telling the subscribers.
    delivery: Delivery {
        /// The waits between attempts; the last one repeats.
        ladder: Ladder = "30s, 2m, 10m, 1h";
        /// Attempts before a delivery is dead.
        max_attempts: u32 = "15" within "1" to "1000";
        /// How long after its first attempt a delivery is dead.
        max_age: Duration = "24h" within "1s" to "90d";
        /// How long one attempt may take: connecting, sending and reading the answer together.
        timeout: Duration = "10s" within "50ms" to "30s";
        /// Attempts at once to one endpoint, from this instance.
        endpoint_in_flight: usize = "64" within "1" to "10000";
        /// Attempts at once to all endpoints, from this instance.
        max_in_flight: usize = "512" within "64" to "100000";
        /// How long a claimed delivery belongs to its worker. At least one and a half times `delivery.timeout`, so that
        /// the outcome can be written while the lease holds.
        lease: Duration = "30s" within "100ms" to "10m";
        /// How long after it was published a delivery that nobody claimed is published again.
        republish_after: Duration = "60s" within "100ms" to "1h";
        /// How long a delivery waits that was handed back because its endpoint had no free slot, or whose hint no queue
        /// took.
        hand_back_after: Duration = "5s" within "10ms" to "1h";
        /// How long the queue may be out of order before due deliveries go to this instance's workers without it.
        direct_after: Duration = "60s" within "100ms" to "1d";
        /// How often the sweeper looks for what is overdue.
        sweep_every: Duration = "15s" within "10ms" to "10m";
        /// Attempts in a row, answered 502, 503 or 504 or not at all in time, after which an endpoint is left alone for a while.
        breaker_after: u32 = "5" within "1" to "1000000";
        /// For how long at first; twice as long each time that a probe fails too, up to 32 times.
        breaker_pause: Duration = "10s" within "10ms" to "10m";
        /// Held deliveries that are released in a second, for each endpoint that is active again, by this instance.
        release_per_second: u32 = "50" within "1" to "100000";
        /// Hints that this instance may have published and not seen claimed; the backlog beyond it stays in the database.
        window: usize = "10000" within "1" to "1000000";
    }

    /// What the service may connect to.
    outbound: Outbound {
        /// Ranges that are allowed although they are not public, and without HTTPS: `127.0.0.0/8` for trying things out.
        allow_ranges: Vec<IpNet> = "";
        /// Recursive name servers that are asked where endpoints are, in this order, each with its port if it is not 53: a
        /// filtering resolver of one's own. None: the resolver of the system, with its hosts file and search list.
        name_servers: Vec<SocketAddr> = "";
    }

    /// Postbacks coming in.
    intake: Intake {
        /// Postbacks that wait to be stored; when it is full, senders get 503.
        buffer: usize = "4096" within "1" to "1000000";
        /// Postbacks that are stored in one transaction, at most.
        batch: usize = "512" within "1" to "10000";
        /// Transactions that store postbacks side by side, on PostgreSQL. SQLite has one writer.
        lanes: usize = "2" within "1" to "16";
        /// How long a postback waits for its unknown click, customer or original before it is rejected.
        park_for: Duration = "72h" within "1s" to "90d";
        /// How far the time in a signature may be off, either way.
        signature_tolerance: Duration = "300s" within "1s" to "1h";
        /// Rejected receipts that are kept for one key in a minute; those beyond it are counted only.
        rejected_receipts_per_minute: u32 = "60" within "0" to "1000000";
        /// Requests in a minute that a key may make which has no rate of its own. It holds for each instance: divide it
        /// by their number.
        key_rate_per_minute: u32 = "60000" within "1" to "100000000";
    }

    /// The redirects of tracking links.
    clicks: Clicks {
        /// Clicks that wait to be stored; when it is full, the visitor is redirected and the click is not stored.
        buffer: usize = "10000" within "1" to "1000000";
        /// Clicks that are stored in one transaction, at most.
        batch: usize = "512" within "1" to "10000";
    }

    /// What affiliates earn.
    commissions: Commissions {
        /// How often to look for commissions whose lock period is over, and for those whose exchange rate has arrived.
        settle_every: Duration = "15s" within "10ms" to "1h";
    }

    /// Paying affiliates.
    payouts: Payouts {
        /// Up to how much, in units of its currency, a payout may be approved with the key that made it. Above it another
        /// key is needed.
        one_person_up_to: Amount = "1000" within "0" to "100000000000";
        /// How often to look for payouts that have fallen due.
        look_every: Duration = "1m" within "10ms" to "1d";
    }

    /// How long what grows is kept. Conversions, commissions, payouts, the ledger and what tells duplicates are kept for ever.
    retention: Retention {
        /// How long requests are kept as they came, with their verdicts, before they are deleted; `0s` is for ever. What is
        /// parked stays until it was judged.
        receipts: Duration = "400d" within "0s" to "36500d";
        /// How long events are kept after their last delivery came to its end, with their deliveries and attempts; `0s` is for
        /// ever. What waits, is held, or is dead and not acknowledged stays.
        events: Duration = "90d" within "0s" to "36500d";
        /// How often to look for what is old enough. One instance at a time deletes.
        look_every: Duration = "1h" within "10ms" to "30d";
    }

    /// What is watched and who is told.
    alerts: Alerts {
        /// The alert opens when more deliveries than this are overdue.
        queue_depth_above: u64 = "100" within "0" to "1000000000";
        /// The alert closes when fewer deliveries than this are overdue.
        queue_depth_below: u64 = "80" within "0" to "1000000000";
        /// How long after its first due time a delivery counts as overdue.
        queue_depth_grace: Duration = "5s" within "0s" to "1h";
        /// The alert opens when a delivery has been due for longer than this; it closes below four fifths of it.
        oldest_due_above: Duration = "1h" within "1s" to "30d";
        /// The alert opens when more dead deliveries than this wait for a person; it closes below four fifths of it.
        dead_letters_above: u64 = "0" within "0" to "1000000000";
        /// The alert opens when a source that has sent before sends nothing for so long. Not watched when not set.
        source_silent_after: Option<Duration> = "";
        /// The alert opens when a source signs with a secret that is older than this.
        secret_max_age: Duration = "90d" within "1d" to "3650d";
        /// The alert opens when a payout under way has taken no step for so long.
        payout_stuck_after: Duration = "3d" within "100ms" to "365d";
        /// How often the alerts are judged.
        evaluate_every: Duration = "15s" within "10ms" to "15s";
        /// Where to post alerts as signed webhooks.
        webhook_url: Option<SecretString> = "" check check::secret_web_address;
        /// What signs them: a Standard Webhooks secret, `whsec_…`.
        webhook_secret: Option<SecretString> = "" check check::webhook_secret;
        /// Where to post alerts as `{"text": …}`: an incoming webhook of Slack, or of a chat system that takes the same.
        chat_url: Option<SecretString> = "" check check::secret_web_address;
    }

    /// Log lines, on standard error.
    log: Log {
        /// `text` for people or `json` for collectors.
        format: LogFormat = "text";
        /// The least level that is shown, or levels by target. Libraries never show more than `info`.
        filter: String = "info" check check::log_filter;
    }
}
