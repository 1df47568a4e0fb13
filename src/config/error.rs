//! What is wrong with the settings, for the person who wrote them.

use std::fmt;

/// One thing that is wrong: which setting, who gave it, what is wrong, what to write. No secret values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, the environment variable or the file.
    pub setting: String,
    /// Where the value came from, unless `setting` says it.
    pub origin: Option<String>,
    /// What is wrong.
    pub wrong: String,
    /// What to write instead.
    pub write: String,
}

impl Problem {
    pub(super) fn new(setting: &str, origin: Option<&str>, wrong: impl Into<String>, write: &str) -> Self {
        let (setting, write) = (setting.to_owned(), write.to_owned());
        Self { setting, origin: origin.map(str::to_owned), wrong: wrong.into(), write }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.setting)?;
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}; write {}", self.wrong, self.write)
    }
}

/// Everything that is wrong with the settings; at least one thing.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    pub(super) const fn new(problems: Vec<Problem>) -> Self {
        Self(problems)
    }

    /// Each thing that is wrong.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings are not right:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}
