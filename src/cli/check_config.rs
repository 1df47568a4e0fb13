//! `postback check-config`: the settings in force, or everything that is wrong with them.

use std::process::ExitCode;

use super::{Context, Failure, print};
use crate::config::{self, Sources};

/// Shows the settings in force with their origin, or everything that is wrong with them
#[derive(clap::Args)]
#[command(after_help = help!("Examples:
  postback check-config
  postback --config /etc/postback.toml check-config",
  "0 the settings are right; 2 they are not, and every error is listed"))]
pub struct Args {
    /// Print docs/configuration.md instead: every setting with its default and its meaning
    #[arg(long)]
    docs: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// Exit code 2 with every error of the settings.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let text = if args.docs { config::markdown() } else { effective(&context.sources()?)? };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The settings in force as TOML, each with who gave it; secrets are hidden.
///
/// # Errors
/// Everything that is wrong with the settings.
pub fn effective(sources: &Sources) -> Result<String, config::ConfigErrors> {
    let lines = sources.settings()?.shown().into_iter().map(|(name, text)| {
        let origin = sources.origin(name);
        let value = toml::Value::from(text);
        format!("{name} = {value} # {origin}\n")
    });
    Ok(lines.collect())
}
