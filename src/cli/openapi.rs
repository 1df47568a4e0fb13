//! `postback openapi`: the description of the HTTP interface, as `openapi.yaml` has it.

use std::process::ExitCode;

use super::{Failure, print};
use crate::http;

/// Prints the description of the HTTP interface
#[derive(clap::Args)]
#[command(after_help = help!("Example: postback openapi > openapi.yaml"))]
pub struct Args {}

/// Runs the subcommand.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(_: &Args) -> Result<ExitCode, Failure> {
    print(&http::openapi_yaml())?;
    Ok(ExitCode::SUCCESS)
}
