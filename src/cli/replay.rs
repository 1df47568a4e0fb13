//! `postback replay`: sends deliveries and judges receipts again, with nothing but access to the database.
//!
//! One is replayed at once. Many are replayed by a job: it is written into the database, a running service works it, and
//! its progress is shown here. Whoever stops looking does not stop the job. No key is needed, and none is used up; what is
//! done is recorded as done on the command line.

mod args;
mod shown;

pub use self::args::Args;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use self::args::{Command, Deliveries, Many, Receipts};
use super::{Context, Failure, print, with_store};
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::ids::{DeliveryId, ReceiptId, ReplayId};
use crate::domain::replay::{DeliveryFilter, Person, ReceiptFilter, ReplayState, Selection};
use crate::intake::catalog_cache::CatalogCache;
use crate::replay::Judge;
use crate::store::Store;
use crate::store::deliveries::Replay;
use crate::store::reading::Page;
use crate::store::replays::{Canceled, NewReplay, ReceiptsReplayed, Rejudging, ReplayView};

/// How often the progress of a job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After which time without progress it is said that no service may be running.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many are shown of what a dry run found.
const SAMPLE: i64 = 20;
/// How many jobs are listed.
const LISTED: i64 = 50;

/// Runs the subcommand.
///
/// # Errors
/// When what is named does not exist, or the database cannot be used.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let settings = context.settings()?;
    with_store(context, |store| async move {
        let clock = Clock::system();
        if let Some(offset) = store.clock_offset_micros().await? {
            clock.set_offset(offset);
        }
        let desk = Desk { store, clock, settings };
        match &args.command {
            Command::Deliveries(wish) => desk.deliveries(wish).await,
            Command::Receipts(wish) => desk.receipts(wish).await,
            Command::Delivery { id } => desk.delivery(*id).await,
            Command::Receipt { id, dry_run } => desk.receipt(*id, *dry_run).await,
            Command::List => desk.list().await,
            Command::Show { id } => desk.show(*id).await,
            Command::Cancel { id } => desk.cancel(*id).await,
        }
    })
}

/// What the subcommands work with.
struct Desk {
    store: Arc<dyn Store>,
    clock: Clock,
    settings: Settings,
}

impl Desk {
    async fn deliveries(&self, wish: &Deliveries) -> Result<ExitCode, Failure> {
        let now = self.clock.now();
        let filter = DeliveryFilter {
            operator_id: wish.operator,
            affiliate_id: wish.affiliate,
            endpoint_id: wish.endpoint,
            event_type: wish.event_type,
            state: wish.state,
            dead_reason: wish.dead_reason,
            acknowledged: wish.acknowledged,
            window: wish.many.window(now),
        };
        let selection = checked(Selection::Deliveries(filter.clone()))?;
        if !wish.many.dry_run {
            return self.work(selection, &wish.many).await;
        }
        let (matched, sample) = self.store.matching_deliveries(&filter, now, SAMPLE).await?;
        print(&shown::deliveries(matched, &sample))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn receipts(&self, wish: &Receipts) -> Result<ExitCode, Failure> {
        let filter = ReceiptFilter {
            operator_id: wish.operator,
            source_id: wish.source,
            verdict: wish.verdict,
            code: wish.code,
            window: wish.many.window(self.clock.now()),
        };
        let selection = checked(Selection::Receipts(filter.clone()))?;
        if !wish.many.dry_run {
            return self.work(selection, &wish.many).await;
        }
        let run = self.judge().await?.dry_run(&filter, Person::CommandLine).await?;
        print(&shown::dry_run(&run, usize::try_from(SAMPLE).unwrap_or(usize::MAX)))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn judge(&self) -> Result<Judge, Failure> {
        let catalog = CatalogCache::load(self.store.clone()).await?;
        Ok(Judge::new(Arc::clone(&self.store), catalog, self.clock.clone(), &self.settings))
    }

    /// Makes a job and looks on until it has ended.
    async fn work(&self, selection: Selection, many: &Many) -> Result<ExitCode, Failure> {
        let now = self.clock.now();
        let (rate, created_by) = (many.rate, Person::CommandLine);
        let new = NewReplay { id: ReplayId::new(now), selection, rate, created_at: now, created_by };
        let made = self.store.create_replay(&new).await?;
        print(&shown::made(&made))?;
        if many.detach { Ok(ExitCode::SUCCESS) } else { self.follow(made).await }
    }

    async fn follow(&self, made: ReplayView) -> Result<ExitCode, Failure> {
        let mut last = made;
        let mut waited = Duration::ZERO;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let stands = self.found(last.id).await?;
            if stands.state != ReplayState::Running {
                print(&shown::job(&stands))?;
                let done = stands.state == ReplayState::Done;
                return Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            if shown::seen(&stands) != shown::seen(&last) {
                print(&shown::progress(&stands))?;
            } else if shown::seen(&stands) == 0 {
                waited = waited.saturating_add(LOOK_EVERY);
                if waited == PATIENCE {
                    print("No service has begun with it; one that runs on this database does: postback serve\n")?;
                }
            }
            last = stands;
        }
    }

    async fn delivery(&self, id: DeliveryId) -> Result<ExitCode, Failure> {
        let begun = self.store.replay(id, self.clock.now(), Duration::ZERO).await.map_err(|error| {
            unknown(error, "there is no delivery with this id; GET /v1/admin/deliveries shows them")
        })?;
        match begun {
            Replay::Begun(hint) => {
                print(&format!(
                    "{id} is due again (epoch {}); a running service sends it within seconds.\n",
                    hint.epoch
                ))?;
                Ok(ExitCode::SUCCESS)
            }
            Replay::Leased => Err(Failure::new("an attempt of it runs now; ask again when it has ended".to_owned())),
        }
    }

    async fn receipt(&self, id: ReceiptId, dry_run: bool) -> Result<ExitCode, Failure> {
        let request = self.store.stored_request(id).await?.ok_or_else(|| {
            Failure::new("there is no receipt with this id; GET /v1/admin/receipts shows them".to_owned())
        })?;
        let work = Rejudging { items: Vec::new(), by: Person::CommandLine, dry_run, step: None };
        let judged = match self.judge().await?.judge(&[request], work, 0).await? {
            ReceiptsReplayed::Judged(mut judgements) => judgements.judged.pop(),
            ReceiptsReplayed::Lost => None,
        };
        let Some(judged) = judged else {
            return Err(Failure::new("this receipt is booked or known already; it was left as it is".to_owned()));
        };
        print(&shown::judged(&judged, dry_run))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn list(&self) -> Result<ExitCode, Failure> {
        let jobs = self.store.replay_jobs(None, Page { before: None, limit: LISTED }).await?;
        print(&shown::jobs(&jobs))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn show(&self, id: ReplayId) -> Result<ExitCode, Failure> {
        print(&shown::job(&self.found(id).await?))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn cancel(&self, id: ReplayId) -> Result<ExitCode, Failure> {
        let canceled = self.store.cancel_replay(id, Person::CommandLine, self.clock.now()).await;
        match canceled.map_err(|error| unknown(error, NO_JOB))? {
            Canceled::Is(stands) => {
                print(&shown::job(&stands))?;
                Ok(ExitCode::SUCCESS)
            }
            Canceled::WasDone => Err(Failure::new("the job is done; nothing is left to cancel".to_owned())),
        }
    }

    async fn found(&self, id: ReplayId) -> Result<ReplayView, Failure> {
        self.store.replay_job(id).await?.ok_or_else(|| Failure::new(NO_JOB.to_owned()))
    }
}

const NO_JOB: &str = "there is no job with this id; `postback replay list` shows them";

fn unknown(error: crate::store::StoreError, sentence: &str) -> Failure {
    match error {
        crate::store::StoreError::NotFound(_) => Failure::new(sentence.to_owned()),
        other => other.into(),
    }
}

fn checked(selection: Selection) -> Result<Selection, Failure> {
    let refused = selection.check();
    refused.map(|()| selection).map_err(|refused| Failure::of_input(format!("--{}: {}", refused.field, refused.why)))
}
