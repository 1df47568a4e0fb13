//! Gathering: which text each setting is given, and by whom.
//!
//! The file first, the environment over it. Names that nobody knows are errors, with the nearest known
//! name; nothing is ever ignored. Values are not judged here but by [`Sources::settings`], and everything
//! found wrong is reported together.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::check::Wrong;
use super::error::{ConfigErrors, Problem};
use super::table::{SECTIONS, Settings};
use super::value::Value;
use super::{agreement, names};

/// What is given for each setting, and what was found wrong while gathering.
#[derive(Default)]
pub struct Sources {
    given: BTreeMap<&'static str, Given>,
    problems: Vec<Problem>,
}

struct Given {
    text: String,
    origin: String,
}

impl Sources {
    /// Nothing given: every setting has its default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what the file called `path` says; `text` is its content, in TOML.
    pub fn file(&mut self, path: &str, text: &str) {
        match text.parse::<toml::Table>() {
            Ok(table) => table.iter().for_each(|(key, value)| self.entry(path, key, value)),
            // The parser's own rendering quotes the line, which may hold a secret.
            Err(error) => {
                let line =
                    error.span().and_then(|span| text.get(..span.start)).map_or(1, |s| s.matches('\n').count() + 1);
                self.problems.push(Problem::new(path, None, format!("line {line} is not TOML"), error.message()));
            }
        }
    }

    /// One entry at the top of the file: a setting, or a section with its settings.
    fn entry(&mut self, path: &str, key: &str, value: &toml::Value) {
        let section = SECTIONS.iter().find(|section| section.name == key && !key.is_empty());
        match (section, value) {
            (Some(_), toml::Value::Table(table)) => {
                table.iter().for_each(|(sub, value)| self.file_setting(path, &format!("{key}.{sub}"), value));
            }
            (Some(_), _) => {
                let write = format!("[{key}] on a line of its own, and its settings below");
                self.problems.push(Problem::new(key, Some(path), "is a section, not a setting", &write));
            }
            (None, toml::Value::Table(_)) => {
                let write = format!("one of the sections {}", names::sections().join(", "));
                self.problems.push(Problem::new(key, Some(path), "is not a known section", &write));
            }
            (None, _) => self.file_setting(path, key, value),
        }
    }

    fn file_setting(&mut self, path: &str, name: &str, value: &toml::Value) {
        let Some(known) = names::known(name) else {
            let nearest = names::nearest_setting(name);
            let write = format!("{nearest} if that is meant, or take it out");
            self.problems.push(Problem::new(name, Some(path), "is not a known setting", &write));
            return;
        };
        match text_of(value) {
            Some(text) => self.give(known, text, path),
            None => self.problems.push(Problem::new(
                name,
                Some(path),
                "has a value of the wrong kind",
                "text, a whole number or a list of them",
            )),
        }
    }

    /// Takes what the environment says: `POSTBACK_<SECTION>_<KEY>`, and the bare names `DATABASE_URL` and
    /// `AMQP_URL`, which give way to the longer ones. Other variables are no business of ours.
    pub fn environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        let mut variables: Vec<_> = variables
            .into_iter()
            .filter_map(|(name, text)| name.into_string().ok().map(|name| (name, text)))
            .filter(|(name, _)| names::is_ours(name))
            .collect();
        variables.sort_by_key(|(name, _)| (name.starts_with(names::PREFIX), name.clone()));
        variables.iter().for_each(|(name, text)| self.variable(name, text));
    }

    fn variable(&mut self, name: &str, text: &OsStr) {
        let Some(known) = names::of_variable(name) else {
            let nearest = names::nearest_variable(name);
            let write = format!("{nearest} if that is meant, or unset it");
            self.problems.push(Problem::new(name, None, "is not a known environment variable", &write));
            return;
        };
        match text.to_str() {
            Some(text) => self.give(known, text.to_owned(), name),
            None => self.problems.push(Problem::new(known, Some(name), "is not UTF-8", "plain text")),
        }
    }

    /// Gives one setting by its name; a later one wins.
    pub fn set(&mut self, name: &str, text: &str) {
        match names::known(name) {
            Some(known) => self.give(known, text.to_owned(), "given in code"),
            None => {
                let nearest = names::nearest_setting(name);
                self.problems.push(Problem::new(name, None, "is not a known setting", &nearest));
            }
        }
    }

    fn give(&mut self, name: &'static str, text: String, origin: &str) {
        self.given.insert(name, Given { text, origin: origin.to_owned() });
    }

    /// Who gave the setting: the file, the environment variable, or `default`.
    #[must_use]
    pub fn origin(&self, name: &str) -> &str {
        self.given.get(name).map_or("default", |given| given.origin.as_str())
    }

    /// The settings, validated.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn settings(&self) -> Result<Settings, ConfigErrors> {
        let mut reader = Reader { sources: self, problems: self.problems.clone() };
        let settings = Settings::read(&mut reader);
        let mut problems = reader.problems;
        match settings {
            Some(settings) => {
                agreement::judge(&settings, &mut problems);
                if problems.is_empty() { Ok(settings) } else { Err(ConfigErrors::new(problems)) }
            }
            None => Err(ConfigErrors::new(problems)),
        }
    }
}

/// The text form of a value in the file; `None` for what no setting has: floats, times, tables.
fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(items) => {
            items.iter().map(text_of).collect::<Option<Vec<_>>>().map(|items| items.join(", "))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// Parses setting after setting and notes what is wrong with each.
pub(super) struct Reader<'a> {
    sources: &'a Sources,
    problems: Vec<Problem>,
}

/// What must hold of a value that parsed.
type Check<'a, T> = &'a dyn Fn(&T) -> Result<(), Wrong>;

impl Reader<'_> {
    /// The value given, or the default. What is wrong is noted and the default taken, so that the rest can
    /// be judged too.
    pub(super) fn read<T: Value>(&mut self, name: &'static str, default: &str, checks: &[Check<'_, T>]) -> Option<T> {
        let Some(given) = self.sources.given.get(name) else { return self.default(name, default) };
        let finding = match T::parse(&given.text) {
            Ok(value) => match checks.iter().find_map(|check| check(&value).err()) {
                None => return Some(value),
                Some(finding) => finding,
            },
            Err(wrong) => Wrong { wrong, write: T::WRITE.to_owned() },
        };
        let value = if T::SECRET { "the value".to_owned() } else { quoted(&given.text) };
        let wrong = format!("{value} {}", finding.wrong);
        self.problems.push(Problem::new(name, Some(&given.origin), wrong, &finding.write));
        self.default(name, default)
    }

    fn default<T: Value>(&mut self, name: &'static str, default: &str) -> Option<T> {
        let value = T::parse(default);
        if value.is_err() {
            self.problems.push(Problem::new(name, None, "has a default that cannot be read", T::WRITE));
        }
        value.ok()
    }
}

/// The text in quotes on one line, cut off where it is long.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let start: String = text.chars().take(SHOWN).collect();
    let rest = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{rest}")
}
