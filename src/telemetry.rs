//! Log lines: text for people or JSON for collectors, on standard error, so that standard output stays the command's.
//!
//! Libraries are tamed twice. Those that report what we log ourselves are quiet unless the filter names them. And no
//! library ever gets below `info`, whatever the filter says: at those levels some of them print what goes over the
//! wire, keys and addresses included (RELIABILITY section 7: no secret in logs at any level).

use std::io::{self, IsTerminal as _};

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};

use crate::config::{Log, LogFormat};

/// What libraries may say unless the filter names them.
const QUIET: &str = "actix_server=warn,actix_http=error,hyper=warn,lapin=warn,rustls=warn,sqlx=warn";

/// Why log lines cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.filter` cannot be read; validated settings do not cause it.
    #[error("the log filter cannot be read: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else has taken over the log lines of this process already.
    #[error("log lines are taken care of already")]
    AlreadySet(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Starts writing log lines; once in a process, by the command line.
///
/// # Errors
/// See [`TelemetryError`].
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let colours = io::stderr().is_terminal();
    Ok(tracing::subscriber::set_global_default(subscriber(log, colours, io::stderr)?)?)
}

/// What writes the lines to `writer`.
fn subscriber<W>(log: &Log, colours: bool, writer: W) -> Result<impl Subscriber + Send + Sync + use<W>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A later directive for the same target wins.
    let filter = EnvFilter::builder().parse(format!("{QUIET},{}", log.filter))?;
    let ours = |target: &str| target == "postback" || target.starts_with("postback::");
    let capped = filter_fn(move |line| *line.level() <= Level::INFO || ours(line.target()));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log.format {
        LogFormat::Text => lines.with_ansi(colours).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    Ok(tracing_subscriber::registry().with(filter).with(capped).with(lines))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is written while `speak` runs.
    fn written(format: LogFormat, filter: &str, speak: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Page(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Page {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let page = Page::default();
        let to = page.clone();
        let log = Log { format, filter: filter.to_owned() };
        let subscriber = subscriber(&log, false, move || to.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, speak);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn our_own_lines_follow_the_filter() {
        let speak = || {
            tracing::info!(target: "postback::delivery", "told");
            tracing::debug!(target: "postback::delivery", "detail");
            tracing::debug!(target: "postback::intake", "other");
        };
        let lines = written(LogFormat::Text, "info,postback::delivery=debug", speak);
        assert!(lines.contains("told") && lines.contains("detail") && !lines.contains("other"), "{lines}");
    }

    #[test]
    fn libraries_are_quiet_until_named_and_never_below_info() {
        let speak = || {
            tracing::warn!(target: "lapin::connection", "trouble");
            tracing::info!(target: "lapin::connection", "chatter");
            tracing::debug!(target: "lapin::connection", "credentials");
            tracing::trace!(target: "postbackup", "not us");
        };
        let lines = written(LogFormat::Text, "trace", speak);
        assert!(lines.contains("trouble") && !lines.contains("chatter"), "{lines}");
        let lines = written(LogFormat::Text, "trace,lapin=trace", speak);
        assert!(lines.contains("trouble") && lines.contains("chatter"), "{lines}");
        assert!(!lines.contains("credentials") && !lines.contains("not us"), "{lines}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let line = written(LogFormat::Json, "info", || tracing::info!(target: "postback", count = 3, "told"));
        let object: serde_json::Value = serde_json::from_str(line.trim_end()).unwrap();
        assert_eq!(
            (&object["message"], &object["count"], &object["level"]),
            (&"told".into(), &3.into(), &"INFO".into())
        );
    }
}
