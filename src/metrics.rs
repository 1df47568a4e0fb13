//! What operations see at `/metrics`, in a registry of its own: no statics, so that two services in one process (as in
//! tests) never share a number.
//!
//! Names carry their unit last and `_total` when they only grow. Labels are bounded: they come from the code, or from
//! the routes and queues that exist, never from what a caller sends. Known values of a label start at zero, so that a rate
//! is right from the first event on. No metric holds an id, an address or a secret.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Error, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// Seconds, from a cached answer to the longest timeout.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Items in a batch.
const ITEMS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

const VERDICTS: [&str; 5] = ["accepted", "duplicate", "updated", "parked", "rejected"];
const OUTCOMES: [&str; 3] = ["delivered", "failed", "unknown"];
const DIRECTIONS: [&str; 2] = ["publishing", "consuming"];
const PUBLISHED: [&str; 3] = ["taken", "unavailable", "refused"];
const CLICKS: [&str; 3] = ["stored", "dropped", "unknown_link"];
const PRUNED: [&str; 2] = ["receipts", "events"];

/// What became of messages that were given to the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// It took so many.
    pub taken: u64,
    /// It refused so many.
    pub refused: u64,
    /// Of so many it did not say, or it could not be reached.
    pub unavailable: u64,
}

impl Published {
    /// What came after `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            taken: self.taken.saturating_sub(earlier.taken),
            refused: self.refused.saturating_sub(earlier.refused),
            unavailable: self.unavailable.saturating_sub(earlier.unavailable),
        }
    }
}

/// Every metric of one service. Those without a label are fields; the others are set through methods.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    receipts: IntCounterVec,
    http_requests: IntCounterVec,
    http_request_seconds: HistogramVec,
    /// `postback_recorder_batch_size`: postbacks stored in one transaction.
    pub recorder_batch_size: Histogram,
    /// `postback_recorder_seconds`: how long that transaction took.
    pub recorder_seconds: Histogram,
    attempts: IntCounterVec,
    /// `postback_attempt_seconds`: how long one attempt took, from resolving the name to the end of the answer.
    pub attempt_seconds: Histogram,
    /// `postback_deliveries_due`: overdue deliveries, the queue depth as the alert counts it (RELIABILITY section 9).
    pub deliveries_due: IntGauge,
    /// `postback_deliveries_oldest_due_seconds`: how long the oldest of them has been due; 0 when there is none.
    pub deliveries_oldest_due_seconds: Gauge,
    /// `postback_deliveries_dead`: deliveries that were given up and wait for a person.
    pub deliveries_dead: IntGauge,
    queue_messages: IntGaugeVec,
    queue_connected: IntGaugeVec,
    /// `postback_past_the_queue`: whether due deliveries go to this instance's workers without the queue.
    pub past_the_queue: IntGauge,
    publishes: IntCounterVec,
    /// `postback_sweeper_republished_total`: deliveries that nobody claimed in time and that were hinted at again.
    pub sweeper_republished: IntCounter,
    /// `postback_unauthenticated_total`: requests without a valid key; nothing else is kept of them.
    pub unauthenticated: IntCounter,
    /// `postback_shed_total`: postbacks answered 503 because the intake buffer was full.
    pub shed: IntCounter,
    alert_open: IntGaugeVec,
    clicks: IntCounterVec,
    pruned: IntCounterVec,
}

impl Metrics {
    /// All metrics, at zero.
    ///
    /// # Errors
    /// When two metrics have the same name or one has a name that is not allowed; a test keeps that from happening.
    pub fn new() -> Result<Self, Error> {
        let make = Make(Registry::new());
        let metrics = Self {
            receipts: make.counters("receipts_total", "Postbacks stored, by verdict.", &["verdict"])?,
            http_requests: make.counters(
                "http_requests_total",
                "HTTP requests answered, by route and status.",
                &["route", "status"],
            )?,
            http_request_seconds: make.histograms(
                "http_request_seconds",
                "From the head of a request to its answer.",
                &["route"],
            )?,
            recorder_batch_size: make.histogram(
                "recorder_batch_size",
                "Postbacks stored in one transaction.",
                &ITEMS,
            )?,
            recorder_seconds: make.histogram("recorder_seconds", "Duration of that transaction.", &SECONDS)?,
            attempts: make.counters("attempts_total", "Attempts to deliver, by outcome.", &["outcome"])?,
            attempt_seconds: make.histogram("attempt_seconds", "Duration of one attempt.", &SECONDS)?,
            deliveries_due: make
                .gauge("deliveries_due", "Overdue deliveries, as the queue depth alert counts them.")?,
            deliveries_oldest_due_seconds: make
                .seconds("deliveries_oldest_due_seconds", "How long the oldest overdue delivery has been due.")?,
            deliveries_dead: make.gauge("deliveries_dead", "Deliveries that were given up and wait for a person.")?,
            queue_messages: make.gauges("queue_messages", "Messages ready in each queue.", "queue")?,
            queue_connected: make.gauges("queue_connected", "1 while the queue works.", "direction")?,
            past_the_queue: make
                .gauge("past_the_queue", "1 while due deliveries go to the workers without the queue.")?,
            publishes: make.counters("publish_total", "Messages given to the queue, by result.", &["result"])?,
            sweeper_republished: make.counter("sweeper_republished_total", "Deliveries that were hinted at again.")?,
            unauthenticated: make.counter("unauthenticated_total", "Requests without a valid key.")?,
            shed: make.counter("shed_total", "Postbacks refused because the intake buffer was full.")?,
            alert_open: make.gauges("alert_open", "1 while the alert is open.", "alert")?,
            clicks: make.counters("clicks_total", "Clicks, by what became of them.", &["result"])?,
            pruned: make.counters("pruned_total", "Rows deleted because they were old enough.", &["what"])?,
            registry: make.0.clone(),
        };
        make.gauges("build_info", "Always 1; the version is in the label.", "version")?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        metrics.start_at_zero();
        Ok(metrics)
    }

    fn start_at_zero(&self) {
        VERDICTS.iter().for_each(|verdict| self.receipts.with_label_values(&[verdict]).reset());
        OUTCOMES.iter().for_each(|outcome| self.attempts.with_label_values(&[outcome]).reset());
        DIRECTIONS.iter().for_each(|direction| self.queue_connected.with_label_values(&[direction]).set(0));
        PUBLISHED.iter().for_each(|result| self.publishes.with_label_values(&[result]).reset());
        CLICKS.iter().for_each(|result| self.clicks.with_label_values(&[result]).reset());
        PRUNED.iter().for_each(|what| self.pruned.with_label_values(&[what]).reset());
    }

    /// `postback_receipts_total{verdict}`: a postback was stored; `verdict` is one of accepted, duplicate, updated,
    /// parked, rejected.
    pub fn receipt(&self, verdict: &'static str) {
        self.receipts.with_label_values(&[verdict]).inc();
    }

    /// `postback_http_requests_total{route,status}` and `postback_http_request_seconds{route}`: a request was answered.
    /// `route` is the pattern that matched, such as `/v1/postbacks/{source}`, or `unmatched`; never the path.
    pub fn http_request(&self, route: &str, status: u16, duration: Duration) {
        self.http_requests.with_label_values(&[route, &status.to_string()]).inc();
        self.http_request_seconds.with_label_values(&[route]).observe(duration.as_secs_f64());
    }

    /// `postback_attempts_total{outcome}`: an attempt ended; `outcome` is one of delivered, failed, unknown (nobody lived
    /// to see its end).
    pub fn attempt(&self, outcome: &'static str) {
        self.attempts.with_label_values(&[outcome]).inc();
    }

    /// `postback_queue_messages{queue}`: messages ready in one queue, as the queue itself counts.
    pub fn queue_messages(&self, queue: &str, messages: u64) {
        self.queue_messages.with_label_values(&[queue]).set(i64::try_from(messages).unwrap_or(i64::MAX));
    }

    /// `postback_queue_connected{direction}`: whether the queue works in both directions.
    pub fn queue_connected(&self, publishing: bool, consuming: bool) {
        for (direction, works) in DIRECTIONS.iter().zip([publishing, consuming]) {
            self.queue_connected.with_label_values(&[direction]).set(i64::from(works));
        }
    }

    /// `postback_publish_total{result}`: a message was given to the queue; `result` is one of taken, unavailable, refused.
    pub fn published(&self, result: &'static str) {
        self.publishes.with_label_values(&[result]).inc();
    }

    /// How many messages the queue has taken, refused and not answered for, since the start.
    #[must_use]
    pub fn published_so_far(&self) -> Published {
        let of = |result| self.publishes.with_label_values(&[result]).get();
        Published { taken: of("taken"), refused: of("refused"), unavailable: of("unavailable") }
    }

    /// `postback_alert_open{alert}`: whether the alert is open; `alert` is its stable name.
    pub fn alert(&self, alert: &'static str, open: bool) {
        self.alert_open.with_label_values(&[alert]).set(i64::from(open));
    }

    /// `postback_clicks_total{result}`: a visitor came; `result` is one of stored, dropped (redirected, but the buffer was
    /// full), unknown_link.
    pub fn click(&self, result: &'static str) {
        self.clicks.with_label_values(&[result]).inc();
    }

    /// `postback_pruned_total{what}`: rows had been kept long enough and were deleted; `what` is one of receipts, events.
    pub fn pruned(&self, what: &'static str, count: u64) {
        self.pruned.with_label_values(&[what]).inc_by(count);
    }

    /// All metrics in Prometheus' text exposition format.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self) -> Result<String, Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Makes metrics and registers them; their names start with `postback_`.
struct Make(Registry);

impl Make {
    fn registered<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.registered(IntCounter::with_opts(options(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.registered(IntCounterVec::new(options(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.registered(IntGauge::with_opts(options(name, help))?)
    }

    fn seconds(&self, name: &str, help: &str) -> Result<Gauge, Error> {
        self.registered(Gauge::with_opts(options(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, Error> {
        self.registered(IntGaugeVec::new(options(name, help), &[label])?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Error> {
        self.registered(Histogram::with_opts(HistogramOpts::from(options(name, help)).buckets(buckets.to_vec()))?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, Error> {
        let options = HistogramOpts::from(options(name, help)).buckets(SECONDS.to_vec());
        self.registered(HistogramVec::new(options, labels)?)
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("postback_{name}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_labels_start_at_zero() {
        let text = Metrics::new().unwrap().render().unwrap();
        for line in [
            "postback_receipts_total{verdict=\"parked\"} 0",
            "postback_attempts_total{outcome=\"unknown\"} 0",
            "postback_queue_connected{direction=\"consuming\"} 0",
            "postback_publish_total{result=\"taken\"} 0",
            "postback_clicks_total{result=\"stored\"} 0",
            "postback_deliveries_due 0",
            "postback_shed_total 0",
            concat!("postback_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# TYPE postback_recorder_batch_size histogram",
        ] {
            assert!(text.lines().any(|given| given == line), "missing: {line}\n{text}");
        }
    }

    #[test]
    fn what_happens_is_counted() {
        let metrics = Metrics::new().unwrap();
        metrics.receipt("accepted");
        metrics.http_request("/v1/postbacks/{source}", 200, Duration::from_millis(3));
        metrics.queue_connected(true, false);
        metrics.queue_messages("postback.work.v1", 7);
        metrics.alert("queue_depth", true);
        metrics.sweeper_republished.inc_by(2);
        metrics.recorder_batch_size.observe(3.0);
        let text = metrics.render().unwrap();
        for line in [
            "postback_receipts_total{verdict=\"accepted\"} 1",
            "postback_http_requests_total{route=\"/v1/postbacks/{source}\",status=\"200\"} 1",
            "postback_http_request_seconds_bucket{route=\"/v1/postbacks/{source}\",le=\"0.005\"} 1",
            "postback_http_request_seconds_bucket{route=\"/v1/postbacks/{source}\",le=\"0.0025\"} 0",
            "postback_queue_connected{direction=\"publishing\"} 1",
            "postback_queue_connected{direction=\"consuming\"} 0",
            "postback_queue_messages{queue=\"postback.work.v1\"} 7",
            "postback_alert_open{alert=\"queue_depth\"} 1",
            "postback_sweeper_republished_total 2",
            "postback_recorder_batch_size_bucket{le=\"4\"} 1",
        ] {
            assert!(text.lines().any(|given| given == line), "missing: {line}\n{text}");
        }
        let other = Metrics::new().unwrap().render().unwrap();
        assert!(other.contains("postback_receipts_total{verdict=\"accepted\"} 0"), "two services share nothing");
    }
}
