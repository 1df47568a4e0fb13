//! `postback ledger verify`: asks the books whether they are sound (RELIABILITY section 8).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use super::{Context, Failure, print, with_store};
use crate::store::ledger::{Balance, Finding};

/// Asks questions of the ledger
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Runs every check over the books; ends with 1 when any of them finds something
    #[command(after_help = help!(
        "Example: postback ledger verify && echo sound",
        "0 the books are sound; 1 a check found something, or the work failed; 2 the settings are not right"
    ))]
    Verify,
}

/// Runs the subcommand.
///
/// # Errors
/// When the database cannot be read.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let Command::Verify = args.command;
    let (findings, balances) =
        with_store(context, |store| async move { Ok((store.verify_ledger().await?, store.balances("").await?)) })?;
    print(&told(&findings, &balances))?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line for each finding, or what was found sound.
fn told(findings: &[Finding], balances: &[Balance]) -> String {
    let mut text = String::new();
    for finding in findings {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}: {}", finding.check, finding.detail);
    }
    if findings.is_empty() {
        let currencies: BTreeSet<&str> = balances.iter().map(|balance| balance.currency.code()).collect();
        let (accounts, currencies) = (balances.len(), currencies.len());
        let _ = writeln!(
            text,
            "The ledger is sound: every check over {accounts} balances in {currencies} currencies found nothing."
        );
    } else {
        let _ = writeln!(text, "The ledger is not sound: {} findings.", findings.len());
    }
    text
}
