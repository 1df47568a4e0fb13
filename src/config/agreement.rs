//! What must hold between settings. A rule is not judged when one of its settings is wrong by itself:
//! the default that stands in for it would be blamed for what nobody wrote.

use super::error::Problem;
use super::table::Settings;
use super::types::DatabaseUrl;
use super::value::Value;

/// Judges every rule and notes those that are broken.
pub(super) fn judge(settings: &Settings, problems: &mut Vec<Problem>) {
    let found: Vec<Problem> = [
        lease_outlasts_timeout(settings),
        alert_closes_below(settings),
        batch_fits_buffer("intake", settings.intake.batch, settings.intake.buffer),
        batch_fits_buffer("clicks", settings.clicks.batch, settings.clicks.buffer),
        endpoint_within_all(settings),
        master_key_present(settings),
        alerts_are_signed(settings),
    ]
    .into_iter()
    .flatten()
    .filter(|(others, problem)| !problems.iter().any(|p| p.setting == problem.setting || others.contains(&&*p.setting)))
    .map(|(_, problem)| problem)
    .collect();
    problems.extend(found);
}

/// A broken rule: the other settings it speaks of, and what to tell.
type Broken = (&'static [&'static str], Problem);

fn lease_outlasts_timeout(settings: &Settings) -> Option<Broken> {
    let (lease, timeout) = (settings.delivery.lease, settings.delivery.timeout);
    let least = timeout.saturating_add(timeout / 2);
    (lease < least).then(|| {
        let wrong = format!("{} is too short for delivery.timeout = {}", lease.show(), timeout.show());
        let write = format!("at least {}, or a shorter timeout", least.show());
        (&["delivery.timeout"][..], Problem::new("delivery.lease", None, wrong, &write))
    })
}

fn alert_closes_below(settings: &Settings) -> Option<Broken> {
    let (above, below) = (settings.alerts.queue_depth_above, settings.alerts.queue_depth_below);
    (below >= above).then(|| {
        let wrong = format!("{below} is not less than alerts.queue_depth_above = {above}");
        let write = "a smaller number, so that the alert does not flap";
        (&["alerts.queue_depth_above"][..], Problem::new("alerts.queue_depth_below", None, wrong, write))
    })
}

fn batch_fits_buffer(section: &'static str, batch: usize, buffer: usize) -> Option<Broken> {
    (batch > buffer).then(|| {
        let wrong = format!("{batch} is more than {section}.buffer = {buffer} can hold");
        let write = format!("at most {buffer}, or a larger buffer");
        let buffer: &[&str] = if section == "intake" { &["intake.buffer"] } else { &["clicks.buffer"] };
        (buffer, Problem::new(&format!("{section}.batch"), None, wrong, &write))
    })
}

fn endpoint_within_all(settings: &Settings) -> Option<Broken> {
    let (one, all) = (settings.delivery.endpoint_in_flight, settings.delivery.max_in_flight);
    (one > all).then(|| {
        let wrong = format!("{one} is more than delivery.max_in_flight = {all} for all endpoints");
        let write = format!("at most {all}, or a larger limit for all");
        (&["delivery.max_in_flight"][..], Problem::new("delivery.endpoint_in_flight", None, wrong, &write))
    })
}

fn master_key_present(settings: &Settings) -> Option<Broken> {
    let needed = matches!(settings.database.url, Some(DatabaseUrl::Postgres(_)));
    (needed && settings.master_key.is_none()).then(|| {
        let write = "POSTBACK_MASTER_KEY=<what `openssl rand -base64 32` prints>, the same for every instance";
        (&["database.url"][..], Problem::new("master_key", None, "is required on PostgreSQL", write))
    })
}

fn alerts_are_signed(settings: &Settings) -> Option<Broken> {
    match (&settings.alerts.webhook_url, &settings.alerts.webhook_secret) {
        (Some(_), None) => {
            let write = "whsec_ followed by what `openssl rand -base64 24` prints";
            let problem = Problem::new("alerts.webhook_secret", None, "is required with alerts.webhook_url", write);
            Some((&["alerts.webhook_url"], problem))
        }
        (None, Some(_)) => {
            let wrong = "is missing, but alerts.webhook_secret is set";
            let problem = Problem::new("alerts.webhook_url", None, wrong, "an address, or take the secret out");
            Some((&["alerts.webhook_secret"], problem))
        }
        _ => None,
    }
}
