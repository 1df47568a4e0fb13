//! `postback migrate`: brings the tables up to date, for those who do not want `serve` to do it.

use std::process::ExitCode;

use super::{Context, Failure, print, with_store};

/// Brings the tables of the database up to date; serve does the same when it starts
#[derive(clap::Args)]
#[command(after_help = help!("Examples:
  postback migrate
  DATABASE_URL=postgres://postback@db/postback POSTBACK_MASTER_KEY=… postback migrate",
  "0 the tables are up to date; 1 the database cannot be used, or is of a later program; 2 the settings are not right"))]
pub struct Args {}

/// Runs the subcommand.
///
/// # Errors
/// When the database cannot be reached, or holds tables of a newer program.
pub fn run(_: &Args, context: &Context) -> Result<ExitCode, Failure> {
    // Opening a store brings its tables up to date.
    let engine = with_store(context, |store| async move { Ok(store.engine()) })?;
    print(&format!("The tables on {engine} are up to date.\n"))?;
    Ok(ExitCode::SUCCESS)
}
