//! `ledger verify`, and the demo's judge, over books that a demo kept, sound ones and such that somebody changed by hand.

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::program::{self, Folder};

#[tokio::test]
async fn sound_books_and_changed_ones() {
    let folder = Folder::new();
    let data = folder.join("demo").display().to_string();
    program::run(&folder, &["demo", "--events", "40", "--exit", "--data", &data], &[]).await.succeeded();
    let verify = || program::run(&folder, &["ledger", "verify"], &[("POSTBACK_DATA_DIR", &data)]);
    let told = verify().await.succeeded();
    assert!(told.contains("sound") && told.contains(" 6 balances in 1 currencies"), "{told}");

    let options = SqliteConnectOptions::new().filename(folder.join("demo/postback.sqlite"));
    let mut raw = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("DROP TRIGGER ledger_entries_no_update").execute(&mut raw).await.unwrap();
    let change = "UPDATE ledger_entries SET amount = amount + 10000 WHERE id = (SELECT min(id) FROM ledger_entries)";
    assert_eq!(sqlx::query(change).execute(&mut raw).await.unwrap().rows_affected(), 1);
    raw.close().await.unwrap();

    let demo = program::run(&folder, &["demo", "--exit", "--data", &data], &[]).await;
    assert!(demo.out.contains("FAILED") && demo.out.contains("ledger verify"), "{}", demo.out);
    demo.failed_with(1);
    let ended = verify().await;
    assert!(ended.out.contains("not sound"), "{}", ended.out);
    ended.failed_with(1);
}
