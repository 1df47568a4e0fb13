//! `postback sign`: a `curl` line with the signature that a source demands, to try a connection out.
//!
//! The API key is not part of it: the line takes it from the shell's `POSTBACK_KEY`.

use std::process::ExitCode;

use super::healthcheck::reachable;
use super::{Context, Failure, print, with_store};
use crate::clock::Clock;
use crate::domain::catalog::Source;
use crate::domain::ids::{EventId, SourceId};
use crate::domain::signature::{InboundScheme, SigningSecret, sign_body, sign_query, sign_webhook};
use crate::domain::time::Timestamp;

/// How the line begins. A shell that does not know the key says so instead of sending none.
const CURL: &str = "curl -sS -H \"Authorization: Bearer ${POSTBACK_KEY:?is to be set to the key of the source}\"";

/// Prints a signed curl line for a source's scheme; the signature holds for some minutes
///
/// The key is not part of the line: export it as POSTBACK_KEY before you paste.
#[derive(clap::Args)]
#[command(after_help = help!("Examples:
  postback sign --source src_… '{\"click_id\": \"c1\", \"event_id\": \"e1\", \"goal\": \"lead\"}'
  postback sign --source src_… 'click_id=c1&event_id=e1&goal=lead'     (scheme query)"))]
pub struct Args {
    /// The source to send through
    #[arg(long, value_name = "src_…")]
    source: SourceId,
    /// What to send: a JSON body, or the raw query string where the scheme is query
    content: String,
}

/// Runs the subcommand.
///
/// # Errors
/// When there is no such source, or it has no secret that is valid now.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let now = Clock::system().now();
    let delta = with_store(context, |store| async move { Ok(store.load(0).await?) })?;
    let Some(source) = delta.sources.iter().find(|source| source.id == args.source) else {
        return Err(Failure::new("there is no source with this id; GET /v1/admin/sources lists them".to_owned()));
    };
    let valid = |end: Option<Timestamp>| end.is_none_or(|end| now < end);
    let mut secrets = delta.source_secrets.iter().rev();
    let secret = secrets.find(|row| row.source_id == source.id && valid(row.expires_at)).map(|row| &row.secret);
    let server = context.settings()?.server;
    let address = server.public_url.unwrap_or_else(|| format!("http://{}", reachable(server.listen)));
    print(&line(source, secret, &format!("{address}/v1/postbacks"), &args.content, now)?)?;
    Ok(ExitCode::SUCCESS)
}

fn line(
    source: &Source,
    secret: Option<&SigningSecret>,
    url: &str,
    content: &str,
    now: Timestamp,
) -> Result<String, Failure> {
    let secret = || {
        secret.ok_or_else(|| {
            Failure::new(
                "the source has no secret that is valid now; POST /v1/admin/sources/{id}/secrets makes one".to_owned(),
            )
        })
    };
    let seconds = now.seconds();
    let headers = match source.signature_scheme {
        InboundScheme::Query => {
            let query = sign_query(secret()?, seconds, content);
            return Ok(format!("{CURL} {}\n", quoted(&format!("{url}?{query}"))));
        }
        InboundScheme::None => Vec::new(),
        InboundScheme::Body => vec![format!("X-Signature: {}", sign_body(secret()?, seconds, content.as_bytes()))],
        InboundScheme::Standard => {
            let id = EventId::new(now).to_string();
            let signature = sign_webhook(&[secret()?], &id, seconds, content.as_bytes());
            vec![
                format!("webhook-id: {id}"),
                format!("webhook-timestamp: {seconds}"),
                format!("webhook-signature: {signature}"),
            ]
        }
    };
    let headers: String = headers.iter().map(|header| format!(" -H {}", quoted(header))).collect();
    Ok(format!(
        "{CURL} -H 'Content-Type: application/json'{headers} --data-binary {} {}\n",
        quoted(content),
        quoted(url)
    ))
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::Status;
    use crate::domain::ids::OperatorId;

    #[test]
    fn what_is_signed_is_what_the_line_sends() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let secret = SigningSecret::generate();
        let line = |scheme, content: &str, secret: Option<&SigningSecret>| {
            let source = Source {
                id: SourceId::new(now),
                operator_id: OperatorId::new(now),
                name: "s".into(),
                signature_scheme: scheme,
                payout_override: false,
                negative_is_refund: false,
                test: false,
                status: Status::Active,
                created_at: now,
            };
            super::line(&source, secret, "http://h/v1/postbacks", content, now)
        };
        let body = r#"{"reason":"it's"}"#;
        let signed = line(InboundScheme::Body, body, Some(&secret)).unwrap();
        assert!(signed.contains(&sign_body(&secret, 1_700_000_000, body.as_bytes())), "{signed}");
        assert!(signed.contains(r#"--data-binary '{"reason":"it'\''s"}' 'http://h/v1/postbacks'"#), "{signed}");
        let query = line(InboundScheme::Query, "goal=lead", Some(&secret)).unwrap();
        assert!(
            query.contains(&sign_query(&secret, 1_700_000_000, "goal=lead")) && !query.contains("--data"),
            "{query}"
        );
        assert!(line(InboundScheme::Standard, body, Some(&secret)).unwrap().contains("webhook-signature: v1,"));
        assert!(!line(InboundScheme::None, body, None).unwrap().contains("-H 'X-Sig"));
        assert!(line(InboundScheme::Body, body, None).is_err());
    }
}
