//! What must hold of one setting's value beyond its type: limits, and the forms of addresses, keys and names.

use secrecy::{ExposeSecret as _, SecretString};

use super::value::Value;

/// A finding against a value that parsed: what is wrong (completes "`text` …") and what to write.
pub(super) struct Wrong {
    pub(super) wrong: String,
    pub(super) write: String,
}

fn wrong(wrong: &str, write: &str) -> Wrong {
    Wrong { wrong: wrong.to_owned(), write: write.to_owned() }
}

/// Whether the value lies between two others, both given as text and both allowed.
pub(super) fn within<T: Value + PartialOrd>(value: &T, low: &str, high: &str) -> Result<(), Wrong> {
    let finding = |what: &str| Err(wrong(what, &format!("a value from {low} to {high}")));
    match (T::parse(low), T::parse(high)) {
        (Ok(low), Ok(_)) if *value < low => finding("is too small"),
        (Ok(_), Ok(high)) if *value > high => finding("is too large"),
        (Ok(_), Ok(_)) => Ok(()),
        _ => finding("has limits that cannot be read"),
    }
}

/// An address of the web without a slash at its end, or none.
pub(super) fn web_address(value: &Option<String>) -> Result<(), Wrong> {
    let Some(value) = value else { return Ok(()) };
    let host = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.ends_with('/') && !host.contains(char::is_whitespace) => Ok(()),
        _ => Err(wrong("is not a web address", "https://<host>, without a slash at the end")),
    }
}

/// A web address that may hold a token, as chat systems hand them out.
pub(super) fn secret_web_address(value: &Option<SecretString>) -> Result<(), Wrong> {
    let Some(value) = value else { return Ok(()) };
    let text = value.expose_secret();
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(char::is_whitespace) => Ok(()),
        _ => Err(wrong("is not a web address", "https://<host>/<path>")),
    }
}

/// The address of a broker.
pub(super) fn amqp_url(value: &Option<SecretString>) -> Result<(), Wrong> {
    let Some(value) = value else { return Ok(()) };
    let text = value.expose_secret();
    let host = text.strip_prefix("amqp://").or_else(|| text.strip_prefix("amqps://"));
    match host {
        Some(host) if !host.is_empty() => Ok(()),
        _ => Err(wrong("is not the URL of a broker", "amqp://<user>:<password>@<host>:5672/<virtual host>")),
    }
}

/// A start for the names of exchanges and queues.
pub(super) fn queue_prefix(value: &str) -> Result<(), Wrong> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    if value.len() <= 64 && value.chars().all(allowed) && !value.starts_with("amq.") {
        return Ok(());
    }
    Err(wrong("cannot start a queue's name", "at most 64 of a-z, 0-9, '.', '_' and '-', not starting with amq."))
}

/// A filter of log lines as tracing-subscriber reads it.
pub(super) fn log_filter(value: &str) -> Result<(), Wrong> {
    match tracing_subscriber::EnvFilter::builder().parse(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(wrong("is not a log filter", "a level, or levels by target: info,postback::delivery=debug")),
    }
}

/// 32 bytes in base64.
pub(super) fn master_key(value: &Option<SecretString>) -> Result<(), Wrong> {
    let Some(value) = value else { return Ok(()) };
    match decoded(value.expose_secret()) {
        Some(bytes) if bytes.len() == 32 => Ok(()),
        _ => Err(wrong("is not a key of 32 bytes in base64", "what `openssl rand -base64 32` prints")),
    }
}

/// A secret as Standard Webhooks writes it: `whsec_` and 24 to 64 bytes in base64.
pub(super) fn webhook_secret(value: &Option<SecretString>) -> Result<(), Wrong> {
    let Some(value) = value else { return Ok(()) };
    match value.expose_secret().strip_prefix("whsec_").and_then(decoded) {
        Some(bytes) if (24..=64).contains(&bytes.len()) => Ok(()),
        _ => Err(wrong("is not a webhook secret", "whsec_ followed by what `openssl rand -base64 24` prints")),
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_a_form() {
        let key = |text: &str| master_key(&Some(SecretString::from(text)));
        assert!(key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").is_ok());
        assert!(key("AAECAwQFBgcICQoLDA0ODw==").is_err(), "16 bytes");
        assert!(key("not base64").is_err());
        let secret = |text: &str| webhook_secret(&Some(SecretString::from(text)));
        assert!(secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_ok());
        assert!(secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_err());
        assert!(secret("whsec_AAEC").is_err());
    }

    #[test]
    fn addresses_and_prefixes_have_a_form() {
        let public = |text: &str| web_address(&Some(text.to_owned())).is_ok();
        assert!(public("https://postback.example") && public("http://127.0.0.1:8080"));
        assert!(!public("postback.example") && !public("https://postback.example/") && !public("https://"));
        let broker = |text: &str| amqp_url(&Some(SecretString::from(text))).is_ok();
        assert!(broker("amqp://guest:guest@127.0.0.1:5672/%2f") && broker("amqps://host"));
        assert!(!broker("amqp://") && !broker("http://host"));
        assert!(queue_prefix("demo-1.a_b").is_ok());
        assert!(
            queue_prefix("amq.x").is_err() && queue_prefix("a b").is_err() && queue_prefix(&"a".repeat(65)).is_err()
        );
        assert!(log_filter("info,postback::delivery=debug").is_ok() && log_filter("postback=loud").is_err());
    }
}
