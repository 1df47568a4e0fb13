//! `docs/configuration.md`, made from the table of settings; a test holds the file equal to it.

use std::fmt::Write as _;

use super::names;
use super::table::{Known, SECTIONS};

const HEAD: &str = "\
# Configuration

Every setting has a default, so that `postback serve` starts with nothing configured. A setting is written in
`postback.toml` (in the working directory, or where `--config` says) or in the environment, which wins over the file.
The environment variable of `section.key` is `POSTBACK_SECTION_KEY`. `DATABASE_URL` and `AMQP_URL` are read too; the
longer names win over them. An optional setting that is set to nothing counts as not set.

`postback check-config` shows the settings in force with their origin, or everything that is wrong with them, at once.
A name that nobody knows is an error, in the file and in the environment. (Kubernetes sets `POSTBACK_PORT` and the like
for a Service named `postback`: give it another name, or set `enableServiceLinks: false`.)

Durations are a whole number and a unit: `250ms`, `30s`, `2m`, `1h`, `90d`. Sizes are whole bytes, or `64KiB`, `1MiB`.
Lists have commas between their items; in the file they may also be TOML arrays. Secrets are never shown nor logged.

```toml
data_dir = \"postback-data\"

[server]
listen = \"127.0.0.1:8080\"

[delivery]
ladder = [\"30s\", \"2m\", \"10m\", \"1h\"]
```

<!-- Made by `cargo run -- check-config --docs > docs/configuration.md`; do not edit by hand. -->
";

/// The whole document.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        let title =
            if section.name.is_empty() { "At the top of the file".to_owned() } else { format!("[{}]", section.name) };
        let doc = joined(section.doc);
        let doc = if doc.is_empty() { doc } else { format!("{doc}\n\n") };
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {title}\n\n{doc}| Setting | Environment | Kind | Default | From, to | Meaning |\n");
        page.push_str("| --- | --- | --- | --- | --- | --- |\n");
        section.settings.iter().for_each(|setting| page.push_str(&row(setting)));
    }
    page
}

fn row(setting: &Known) -> String {
    let code = |text: &str| if text.is_empty() { "none".to_owned() } else { format!("`{text}`") };
    let variable = names::variable_of(setting.name);
    let variables =
        names::alias_of(setting.name).map_or_else(|| code(&variable), |alias| format!("`{variable}`, `{alias}`"));
    let limits = setting.limits.map(|(low, high)| format!("`{low}`, `{high}`")).unwrap_or_default();
    let (name, kind, default, doc) = (setting.name, setting.kind, code(setting.default), joined(setting.doc));
    format!("| `{name}` | {variables} | {kind} | {default} | {limits} | {doc} |\n")
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
