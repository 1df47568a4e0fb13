//! The command line: one file for each subcommand.
//!
//! Parses the arguments, gathers the settings, runs the subcommand, and turns what went wrong into a sentence
//! on standard error and an exit code: 1 when the work failed, 2 when the arguments or the settings are not right.
//! To add a subcommand, add a file with `Args` and `run`, and a line in [`Command`] and in `run` below.

pub mod check_config;
pub mod demo;
pub mod healthcheck;
pub mod keys;
pub mod ledger;
pub mod migrate;
pub mod openapi;
pub mod serve;
pub mod sign;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::app::{self, StartError};
use crate::config::{ConfigErrors, Settings, Sources};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// Where settings are read from when `--config` does not say.
const DEFAULT_FILE: &str = "postback.toml";

#[derive(Parser)]
#[command(version, about = env!("CARGO_PKG_DESCRIPTION"), arg_required_else_help = true)]
struct Cli {
    /// The settings file [default: postback.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// The subcommands in the order of the help.
#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Demo(demo::Args),
    Migrate(migrate::Args),
    CheckConfig(check_config::Args),
    Keys(keys::Args),
    Sign(sign::Args),
    Ledger(ledger::Args),
    Healthcheck(healthcheck::Args),
    Openapi(openapi::Args),
}

/// Parses `arguments` (the program's name first) and runs what they ask for.
///
/// `variables` is the environment: nothing else reads it.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; if the terminal is gone nobody reads the message.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let context = Context { config: cli.config, variables: variables.into_iter().collect() };
    match run(cli.command, &context) {
        Ok(code) => code,
        Err(failure) => {
            tell(&failure.sentence);
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command, context: &Context) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(args) => serve::run(&args, context),
        Command::Demo(args) => demo::run(&args),
        Command::Migrate(args) => migrate::run(&args, context),
        Command::CheckConfig(args) => check_config::run(&args, context),
        Command::Keys(args) => keys::run(&args, context),
        Command::Sign(args) => sign::run(&args, context),
        Command::Ledger(args) => ledger::run(&args, context),
        Command::Healthcheck(args) => healthcheck::run(&args, context),
        Command::Openapi(args) => openapi::run(&args),
    }
}

/// What every subcommand is given beside its own arguments.
pub struct Context {
    config: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
}

impl Context {
    /// What the file and the environment give, not yet judged.
    ///
    /// # Errors
    /// When the file that `--config` names, or `postback.toml` if it is there, cannot be read.
    pub fn sources(&self) -> Result<Sources, Failure> {
        let mut sources = Sources::new();
        let path = self.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => sources.file(&path.display().to_string(), &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.config.is_none() => {}
            Err(error) => {
                let sentence = format!("the settings file {} cannot be read: {error}", path.display());
                return Err(Failure::of_input(sentence));
            }
        }
        sources.environment(self.variables.iter().cloned());
        Ok(sources)
    }

    /// The settings, validated.
    ///
    /// # Errors
    /// Everything that is wrong with them, in one sentence with a line for each.
    pub fn settings(&self) -> Result<Settings, Failure> {
        Ok(self.sources()?.settings()?)
    }
}

/// Why a subcommand could not do its work: a sentence without secrets, and the exit code.
#[derive(Debug)]
pub struct Failure {
    sentence: String,
    code: u8,
}

impl Failure {
    /// The work failed: exit code 1.
    #[must_use]
    pub const fn new(sentence: String) -> Self {
        Self { sentence, code: 1 }
    }

    /// The arguments or the settings are not right: exit code 2.
    #[must_use]
    pub const fn of_input(sentence: String) -> Self {
        Self { sentence, code: 2 }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::of_input(errors.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        StartError::from(error).into()
    }
}

/// A runtime for a subcommand that needs one, with this many threads.
fn runtime(threads: usize) -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.map_err(|error| Failure::new(format!("no threads can be started: {error}")))
}

/// Runs `work` over the database of the settings, and lets go of it afterwards. The service may run meanwhile.
fn with_store<T, F>(context: &Context, work: impl FnOnce(Arc<dyn Store>) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let settings = context.settings()?;
    telemetry::init(&settings.log).map_err(|error| Failure::new(error.to_string()))?;
    runtime(1)?.block_on(async {
        let store = app::open_store(&settings).await?;
        let done = work(Arc::clone(&store)).await;
        store.close().await;
        done
    })
}

/// Writes to standard output. That nobody reads any more (`| head`) is no failure.
///
/// # Errors
/// When standard output cannot be written for another reason, such as a full disk.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

#[expect(clippy::print_stderr, reason = "the sentence for the person at the terminal, not a log line")]
fn tell(sentence: &str) {
    eprintln!("postback: {sentence}");
}
