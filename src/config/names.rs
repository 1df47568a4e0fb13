//! The names of settings: in the file, in the environment, and the nearest one to a name that is unknown.

use super::table::{Known, SECTIONS};

/// What our environment variables start with.
pub(super) const PREFIX: &str = "POSTBACK_";

/// Names that other programs use too, with the settings they give.
const ALIASES: [(&str, &str); 2] = [("DATABASE_URL", "database.url"), ("AMQP_URL", "queue.amqp_url")];

fn all() -> impl Iterator<Item = &'static Known> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

/// The setting of this name.
pub(super) fn known(name: &str) -> Option<&'static str> {
    all().map(|known| known.name).find(|known| *known == name)
}

/// The sections of the file.
pub(super) fn sections() -> Vec<&'static str> {
    SECTIONS.iter().map(|section| section.name).filter(|name| !name.is_empty()).collect()
}

/// The environment variable of a setting.
pub(super) fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "_").to_uppercase())
}

/// The bare environment variable that gives the setting too.
pub(super) fn alias_of(name: &str) -> Option<&'static str> {
    ALIASES.iter().find(|(_, setting)| *setting == name).map(|(alias, _)| *alias)
}

/// The setting that an environment variable gives.
pub(super) fn of_variable(variable: &str) -> Option<&'static str> {
    all().map(|known| known.name).find(|name| variable_of(name) == variable || alias_of(name) == Some(variable))
}

/// Whether an environment variable is for the settings. Those of the tests and the failpoints are not.
pub(super) fn is_ours(variable: &str) -> bool {
    let of_tests =
        variable.starts_with("POSTBACK_TEST_") || ["POSTBACK_FAILPOINT", "POSTBACK_CLOCK_STEP"].contains(&variable);
    let alias = ALIASES.iter().any(|(alias, _)| *alias == variable);
    alias || (variable.starts_with(PREFIX) && !of_tests)
}

/// The setting whose name is nearest: the same key in another section, or else the fewest changed letters.
pub(super) fn nearest_setting(name: &str) -> String {
    let key = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |known: &&str| (key(known) != key(name), strsim::damerau_levenshtein(known, name));
    all().map(|known| known.name).min_by_key(distance).unwrap_or_default().to_owned()
}

/// The environment variable whose name is nearest.
pub(super) fn nearest_variable(name: &str) -> String {
    let distance = |variable: &String| strsim::damerau_levenshtein(variable, name);
    all().map(|known| variable_of(known.name)).min_by_key(distance).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_settings_share_a_variable() {
        let variables: BTreeSet<_> = all().map(|known| variable_of(known.name)).collect();
        assert_eq!(variables.len(), all().count());
        assert!(variables.contains("POSTBACK_MASTER_KEY") && variables.contains("POSTBACK_DELIVERY_LEASE"));
    }

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        assert_eq!(nearest_setting("delivery.leese"), "delivery.lease");
        assert_eq!(nearest_setting("lease"), "delivery.lease");
        assert_eq!(nearest_setting("server.allow_ranges"), "outbound.allow_ranges");
        assert_eq!(nearest_variable("POSTBACK_SERVER_LISTN"), "POSTBACK_SERVER_LISTEN");
    }
}
