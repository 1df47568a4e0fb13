//! A caller that goes away in the middle of a write (RELIABILITY trap 7): the write is whole or not there, and the
//! connections that it used are as good as new.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use postback::domain::ids::AffiliateId;
use postback::store::configuration::Entry;

use crate::support::engines::{Kind, on_both_engines};
use crate::support::eventually;
use crate::support::world::{World, said};

on_both_engines!(writes_after_dropped_ones_are_visible);

/// After how many polls futures are dropped: they are polled at their start, and then each time that the database
/// answers. Two is the moment in which BEGIN has been sent and not been answered. It comes last, since later writes, or
/// a drop within the check of a pooled connection, would end by chance what it left open.
const MOMENTS: [usize; 10] = [0, 1, 9, 8, 7, 6, 5, 4, 3, 2];

/// Polls `future` at most so often, then drops it. Answers whether it ended by itself.
async fn drop_after(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

async fn writes_after_dropped_ones_are_visible(kind: Kind) {
    let world = World::new(kind).await;
    let (mut dropped, mut ended) = (0, 0);
    for round in 0..200_usize {
        let polls = MOMENTS[round / 20];
        let clicks = [world.foreign_click(&format!("dropped-{round}"))];
        let arrival = [world.arrival(Ok(said(world.a_lead(&world.click(), &format!("dropped-{round}")))))];
        let affiliate =
            postback::domain::catalog::Affiliate { id: AffiliateId::new(world.now()), ..world.affiliate.clone() };
        let rows = [Entry::Affiliate(affiliate)];
        let name = format!("dropped-{round}");
        let over = match round % 5 {
            0 => drop_after(polls, world.database.record_clicks(&clicks)).await,
            1 => drop_after(polls, world.database.record_batch(&arrival, &world.catalog, world.terms())).await,
            2 => drop_after(polls, world.database.put(&rows)).await,
            3 => drop_after(polls, world.database.open_alert(&name, "", 1, world.now())).await,
            _ => drop_after(polls, world.database.take_due(world.now(), &[], 10, 10, std::time::Duration::ZERO)).await,
        };
        if over {
            ended += 1
        } else {
            dropped += 1
        };
    }
    assert!(dropped >= 50 && ended >= 10, "moments before, within and after a write: {dropped} dropped, {ended} ended");

    let raw = world.database.raw().await;
    if kind == Kind::Postgres {
        // A forgotten transaction swallows what is later written beside it, and its locks stay.
        let left_open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                         AND state LIKE 'idle in transaction%'";
        eventually("no transaction is left open", async || raw.number(left_open).await == 0).await;
    }
    for round in 0..100 {
        let click = format!("plain-{round}");
        assert_eq!(world.database.record_clicks(&[world.foreign_click(&click)]).await.unwrap(), [true]);
        let seen = raw.number(&format!("SELECT count(*) FROM clicks WHERE click_id = '{click}'")).await;
        assert_eq!(seen, 1, "an answered write is there for everybody");
    }
    world.assert_sound().await;
}
