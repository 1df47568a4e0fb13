//! The alert that cannot be kept in the database, because it is about it.

use postback::alerts::catalogue::Alert;
use postback::store::reading::{Filter, Page};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};

use super::{Operations, open};
use crate::crash::recording::behind_a_proxy;
use crate::support::proxy::Proxy;
use crate::support::site::{Site, Stack, on_both_stacks};

on_both_stacks! {
    a_database_that_takes_no_writes_is_told_and_that_it_does_again_too
    postbacks_that_cannot_be_stored_are_told_although_the_probe_succeeds
}

/// What keeps the database from taking writes.
enum Trouble {
    /// Another program holds the write lock.
    Locked(SqliteConnection),
    /// Nothing comes back from the server.
    Silent(Proxy),
}

impl Trouble {
    /// In the way of the database of a site, not yet in force; and the site with it.
    async fn of(site: Site) -> (Self, Site) {
        let site = site.with("database.lock_timeout", "100ms").with("database.acquire_timeout", "300ms");
        match site.stack {
            Stack::Embedded => {
                site.store().await.close().await;
                let file = std::path::Path::new(site.get("data_dir")).join("postback.sqlite");
                let options = SqliteConnectOptions::new().filename(file);
                (Self::Locked(SqliteConnection::connect_with(&options).await.unwrap()), site)
            }
            Stack::Brokered => {
                let (proxy, site) = behind_a_proxy(&site).await;
                (Self::Silent(proxy), site.with("database.statement_timeout", "300ms"))
            }
        }
    }

    async fn begins(&mut self) {
        match self {
            Self::Locked(connection) => {
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
            }
            Self::Silent(proxy) => proxy.black_hole(true),
        }
    }

    async fn ends(&mut self) {
        match self {
            Self::Locked(connection) => {
                connection.execute("ROLLBACK").await.unwrap();
            }
            Self::Silent(proxy) => {
                proxy.cut();
                proxy.black_hole(false);
            }
        }
    }
}

async fn a_database_that_takes_no_writes_is_told_and_that_it_does_again_too(stack: Stack) {
    let operations = Operations::start().await;
    let (mut trouble, site) = Trouble::of(operations.of(Site::new(stack).await)).await;
    let service = site.start().await;
    trouble.begins().await;
    operations.told_both(Alert::DatabaseUnreachable, "", &["open"]).await;
    let metrics = || service.state.metrics.render().unwrap();
    let shown = "postback_alert_open{alert=\"database_unreachable\"} 1";
    assert!(metrics().lines().any(|line| line == shown), "{}", metrics());
    trouble.ends().await;
    operations.told_both(Alert::DatabaseUnreachable, "", &["open", "closed"]).await;
    assert_eq!(open(&service).await, [], "it is past");
    let past = Filter { status: Some("closed".to_owned()), ..Filter::default() };
    let past = service.state.store.alerts(&past, Page { before: None, limit: 10 }).await.unwrap();
    assert!(past.iter().any(|view| view.name == "database_unreachable" && view.closed_at.is_some()), "{past:?}");
    drop(trouble);
    service.stop().await;
}

/// As on a disk with room for one page; what the recorder then notes, `http::bad_input` shows.
async fn postbacks_that_cannot_be_stored_are_told_although_the_probe_succeeds(stack: Stack) {
    let operations = Operations::start().await;
    let service = operations.of(Site::new(stack).await).start().await;
    let storing = service.state.recorder.storing();
    storing.refused();
    operations.told_both(Alert::DatabaseUnreachable, "", &["open"]).await;
    storing.stored();
    operations.told_both(Alert::DatabaseUnreachable, "", &["open", "closed"]).await;
    service.stop().await;
}
