//! Every link of a page to a file of ours leads somewhere, to its heading too.

use std::path::{Path, PathBuf};

use super::path;

/// The pages that people read.
fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/decisions", "deploy"].map(path);
    let read = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let files = read.flatten().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The targets of a page's links.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// A heading as the address of its place: lower case, spaces as `-`, other signs left out.
fn anchor(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => c.to_lowercase().next(),
        _ => None,
    };
    heading.trim_start_matches('#').trim().chars().filter_map(kept).collect()
}

/// Whether `link` of the page at `from` leads to a file, and to a heading if it names one.
fn leads_somewhere(from: &Path, link: &str) -> bool {
    let (file, wanted) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = if file.is_empty() { from.to_owned() } else { from.parent().unwrap().join(file) };
    let Some(wanted) = wanted else { return target.exists() };
    let Ok(page) = std::fs::read_to_string(&target) else { return false };
    page.lines().filter(|line| line.starts_with('#')).any(|heading| anchor(heading) == wanted)
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() > 10, "{pages:?}");
    let mut checked = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text).filter(|link| !link.contains("://")) {
            assert!(leads_somewhere(&page, link), "{}: ({link}) leads nowhere", page.display());
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} links");
}

#[test]
fn a_wrong_link_is_found() {
    let page = path("README.md");
    assert!(leads_somewhere(&page, "ARCHITECTURE.md#who-acts"));
    for wrong in ["ARCHITECTURE.txt", "ARCHITECTURE.md#who-sleeps", "#nowhere", "docs/ARCHITECTURE.md"] {
        assert!(!leads_somewhere(&page, wrong), "{wrong}");
    }
}
