//! The end of a fault: everything arrives, the service stops, and the judge compares.

use std::sync::Arc;

use super::super::audit;
use super::super::inbox::Inbox;
use super::super::instance::panics;
use super::super::judge::{Evidence, ReceiverEvidence, judge};
use super::super::recovery::End;
use super::super::report::Row;
use super::super::servers::until_within;
use super::super::world::AFFILIATES;
use super::{PATIENCE, Scene};
use crate::cli::Failure;
use crate::cli::outside::client::Client;
use crate::cli::outside::setup::SetUpError;

impl Scene {
    /// Ends the load, waits until everything is told, stops the service and judges.
    pub async fn close(mut self, times: u32) -> Result<Row, Failure> {
        if let Some(mut end) = self.last_end.take() {
            match end.drained(&self.book, &self.world.inboxes).await {
                Ok(drained) => {
                    if let Some(last) = self.recoveries.last_mut() {
                        last.drained = Some(drained);
                    }
                }
                Err(failure) => self.wrong.push(failure.sentence),
            }
        }
        if let Err(failure) = self.load.finish(PATIENCE).await {
            self.wrong.push(failure.sentence);
        }
        let mut last = End::now(&self.book, &self.world.inboxes, self.load.next());
        if let Err(failure) = last.drained(&self.book, &self.world.inboxes).await {
            self.wrong.push(failure.sentence);
        }
        let mut admin = self.admin();
        let settled = self.settled().await;
        self.demand(settled.is_ok(), "deliveries are still pending although everything has arrived");
        let evidence = self.evidence(&mut admin).await?;
        let findings = judge(&evidence);
        let alerts = audit::alerts(&mut admin).await.map_err(unreadable)?;
        self.stop().await?;
        if let Err(failure) = self.program.run(&["ledger", "verify"]).await {
            self.wrong.push(failure.sentence);
        }
        for number in 0..self.instances.len() {
            let panics = panics(&self.log(number));
            self.demand(panics == 0, format!("instance {number} panicked {panics} times"));
        }
        self.wrong.extend(findings.sentences.iter().cloned());
        let row = Row::new(self.name, self.place.stack, times, &findings, &self.recoveries);
        let row = row.with(self.all_answers, self.watch.said(), alerts, self.notes, self.wrong);
        drop((self.instances, self.receivers));
        if row.is_green() {
            self.place.remove(self.servers.as_deref()).await?;
        }
        Ok(row)
    }

    /// Waits until no delivery is pending.
    async fn settled(&self) -> Result<(), Failure> {
        until_within(PATIENCE, "no delivery is pending", async || {
            audit::in_state(&mut self.admin(), "pending").await.is_ok_and(|count| count == 0)
        })
        .await
    }

    async fn evidence(&self, admin: &mut Client) -> Result<Evidence, Failure> {
        let operator = &self.world.operator_id;
        let booked = audit::bookings(admin, operator, &self.book).await.map_err(unreadable)?;
        let attempts = audit::attempts(admin).await.map_err(unreadable)?;
        let receiver = |inbox: &Arc<Inbox>| ReceiverEvidence {
            name: inbox.name.clone(),
            affiliate: inbox.affiliate,
            seen: inbox.look().clone(),
        };
        Ok(Evidence {
            affiliates: AFFILIATES,
            fired: (0..self.load.next()).map(|number| self.book.entry(number)).collect(),
            booked,
            receivers: self.world.inboxes.iter().map(receiver).collect(),
            attempts,
        })
    }

    /// Stops every instance as an operator would; each must end with 0.
    async fn stop(&mut self) -> Result<(), Failure> {
        for number in 0..self.instances.len() {
            let ended = self.instance(number)?.terminate().await?;
            self.demand(
                ended.code() == Some(0),
                format!("instance {number} ended with {ended} when it was asked to stop"),
            );
        }
        Ok(())
    }
}

fn unreadable(error: SetUpError) -> Failure {
    Failure::new(format!("the admin interface cannot be read: {error}"))
}
