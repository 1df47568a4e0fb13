//! The command line: one file for each subcommand.
//!
//! Parses the arguments, gathers the settings, runs the subcommand, and turns what went wrong into a sentence
//! on standard error and an exit code: 1 when the work failed, 2 when the arguments or the settings are not right.
//! To add a subcommand, add a file with `Args` and `run`, and a line in [`Command`] and in `run` below.

/// What follows the options in a subcommand's help: examples that can be typed as they stand (but for `…` in ids), and
/// what it ends with.
macro_rules! help {
    ($examples:literal) => {
        help!($examples, "0 done; 1 the work failed; 2 the arguments or the settings are not right")
    };
    ($examples:literal, $codes:literal $(,)?) => {
        concat!($examples, "\n\nExit codes: ", $codes)
    };
}

pub mod bench;
pub mod check_config;
pub mod demo;
#[cfg(feature = "failpoints")]
pub mod faults;
pub mod healthcheck;
pub mod keys;
pub mod ledger;
pub mod migrate;
pub mod openapi;
mod outside;
pub mod replay;
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
    Bench(bench::Args),
    #[cfg(feature = "failpoints")]
    Faults(faults::Args),
    Migrate(migrate::Args),
    CheckConfig(check_config::Args),
    Keys(keys::Args),
    Sign(sign::Args),
    Replay(replay::Args),
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
        Command::Bench(args) => bench::run(&args),
        #[cfg(feature = "failpoints")]
        Command::Faults(args) => faults::run(&args, context),
        Command::Migrate(args) => migrate::run(&args, context),
        Command::CheckConfig(args) => check_config::run(&args, context),
        Command::Keys(args) => keys::run(&args, context),
        Command::Sign(args) => sign::run(&args, context),
        Command::Replay(args) => replay::run(&args, context),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// The subcommands that do something, each with its path and the text after its options.
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, String)>) {
        let below: Vec<_> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
        if below.is_empty() {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            found.push((path.to_owned(), after));
        }
        for one in below {
            leaves(one, &format!("{path} {}", one.get_name()), found);
        }
    }

    /// The words of a line as a shell would see them: quotes taken off, variables before the program left out.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for character in line.chars() {
            match (quote, character) {
                (Some(mark), _) if mark == character => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(character);
                    word.get_or_insert_default();
                }
                (None, ' ') => words.extend(word.take()),
                _ => word.get_or_insert_default().push(character),
            }
        }
        words.extend(word);
        words.into_iter().skip_while(|word| word != "postback").collect()
    }

    /// The lines of a help that can be typed, without what follows the command in them.
    fn examples(after: &str) -> Vec<Vec<String>> {
        let lines = after.lines().map(|line| line.trim_start_matches("Example:").trim());
        let typed = lines.filter(|line| line.contains("postback ") && !line.starts_with("Exit codes"));
        let ends = |word: &String| ["&&", ">", "|"].contains(&word.as_str()) || word.starts_with('(');
        typed
            .map(|line| {
                let id = line.replace("_…", "_01980f6e2b7a7c3e9f0a1b2c3d4e5f60");
                words(&id).into_iter().take_while(|word| !ends(word)).collect()
            })
            .collect()
    }

    #[test]
    fn every_subcommand_has_examples_that_parse_and_says_what_it_ends_with() {
        let mut found = Vec::new();
        leaves(&Cli::command(), "postback", &mut found);
        assert!(found.len() > 15, "{found:?}");
        for (path, after) in found {
            assert!(after.contains("Example"), "{path}: {after}");
            assert!(after.contains("Exit codes: 0 "), "{path}: {after}");
            let examples = examples(&after);
            assert!(!examples.is_empty(), "{path}");
            for example in examples {
                let parsed = Cli::try_parse_from(&example);
                assert!(
                    parsed.is_ok(),
                    "{example:?}: {}",
                    parsed.err().map(|error| error.to_string()).unwrap_or_default()
                );
                let meant = path.split(' ').all(|part| example.iter().any(|word| word == part));
                assert!(meant, "{example:?} is an example of {path}");
            }
        }
    }
}
