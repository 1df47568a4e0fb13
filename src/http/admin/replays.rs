//! Replays of many: made by a filter, with a dry run first, watched and canceled.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::super::views::{Delivery, JudgedReceipt, Replay};
use crate::domain::event::EventType;
use crate::domain::ids::{AffiliateId, EndpointId, OperatorId, ReplayId, SourceId};
use crate::domain::replay::{
    Cause, DeliveryFilter, Person, ReceiptFilter, ReplayState, Selection, SettledState, Unbooked, Window,
};
use crate::domain::retry::DeadReason;
use crate::domain::time::Timestamp;
use crate::domain::verdict::Code;
use crate::replay::DryRun;
use crate::store::replays::Canceled;

/// How many a second are replayed when nobody says.
const DEFAULT_RATE: i32 = 50;
/// The highest rate.
const MAX_RATE: i32 = 1_000;
/// How many are shown of what a dry run found.
const SAMPLE: i64 = 10;

/// What is replayed.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayKind {
    /// Deliveries are sent again under the same `webhook-id`.
    Deliveries,
    /// Receipts are judged again.
    Receipts,
}

/// A replay of many.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReplay {
    kind: ReplayKind,
    /// Which of them; what is left out narrows nothing.
    #[serde(default)]
    filter: ReplayFilter,
    /// How many a second at most.
    #[serde(default = "default_rate")]
    #[schema(default = 50, minimum = 1, maximum = 1000)]
    rate: i32,
    /// Only says what would be replayed, and changes nothing.
    #[serde(default)]
    dry_run: bool,
}

const fn default_rate() -> i32 {
    DEFAULT_RATE
}

/// What a replay is narrowed to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplayFilter {
    operator_id: Option<OperatorId>,
    /// From this time on: when deliveries were made, or receipts arrived.
    from: Option<Timestamp>,
    /// Before this time.
    to: Option<Timestamp>,
    /// Deliveries only.
    affiliate_id: Option<AffiliateId>,
    /// Deliveries only.
    endpoint_id: Option<EndpointId>,
    /// Deliveries only.
    event_type: Option<EventType>,
    /// Deliveries only: `dead`, if it is left out; with `delivered` a time `from` is needed.
    state: Option<SettledState>,
    /// Deliveries only.
    dead_reason: Option<DeadReason>,
    /// Deliveries only: those too that a person lets be.
    acknowledged: Option<bool>,
    /// Receipts only.
    source_id: Option<SourceId>,
    /// Receipts only: `rejected`, if it is left out.
    verdict: Option<Unbooked>,
    /// Receipts only: the code in force, such as `unknown_goal`.
    #[schema(value_type = Option<String>, example = "unknown_goal")]
    code: Option<Cause>,
}

/// What a replay would be about.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct DryReplay {
    dry_run: bool,
    /// How many match now.
    matched: i64,
    /// Deliveries: the oldest of them, at most 10.
    deliveries: Vec<Delivery>,
    /// Receipts: how many were judged for this answer: the oldest, at most 500.
    judged: usize,
    /// Receipts: how many of those judged would get which verdict.
    verdicts: BTreeMap<&'static str, usize>,
    /// Receipts: what would become of the oldest of them, at most 10.
    receipts: Vec<JudgedReceipt>,
}

impl ReplayFilter {
    /// The first field that is set and narrows only the other kind.
    fn foreign(&self, kind: ReplayKind) -> Option<&'static str> {
        let fields: &[(&'static str, bool)] = match kind {
            ReplayKind::Deliveries => &[
                ("filter.source_id", self.source_id.is_some()),
                ("filter.verdict", self.verdict.is_some()),
                ("filter.code", self.code.is_some()),
            ],
            ReplayKind::Receipts => &[
                ("filter.affiliate_id", self.affiliate_id.is_some()),
                ("filter.endpoint_id", self.endpoint_id.is_some()),
                ("filter.event_type", self.event_type.is_some()),
                ("filter.state", self.state.is_some()),
                ("filter.dead_reason", self.dead_reason.is_some()),
                ("filter.acknowledged", self.acknowledged.is_some()),
            ],
        };
        fields.iter().find(|(_, set)| *set).map(|(field, _)| *field)
    }

    fn selection(self, kind: ReplayKind) -> Result<Selection, Problem> {
        if let Some(field) = self.foreign(kind) {
            return Err(Problem::of_field(field, "This field narrows the other kind of replay."));
        }
        let window = Window { from: self.from, to: self.to };
        let selection = match kind {
            ReplayKind::Deliveries => Selection::Deliveries(DeliveryFilter {
                operator_id: self.operator_id,
                affiliate_id: self.affiliate_id,
                endpoint_id: self.endpoint_id,
                event_type: self.event_type,
                state: self.state.unwrap_or_default(),
                dead_reason: self.dead_reason,
                acknowledged: self.acknowledged.unwrap_or(false),
                window,
            }),
            ReplayKind::Receipts => Selection::Receipts(ReceiptFilter {
                operator_id: self.operator_id,
                source_id: self.source_id,
                verdict: self.verdict.unwrap_or_default(),
                code: self.code,
                window,
            }),
        };
        selection.check().map_err(|refused| Problem::of_field(&format!("filter.{}", refused.field), refused.why))?;
        Ok(selection)
    }
}

/// Replays many deliveries or receipts by a filter, as a job; or, with `dry_run`, says what that would come to.
///
/// Deliveries are sent again under the same `webhook-id`, each as a new epoch. Receipts are judged again by today's
/// configuration, as of the time at which they arrived: they book what their first arrival would have, once. Whoever asks
/// for receipts vouches for them: signature, time and address are not judged again.
#[utoipa::path(
    tag = "admin",
    request_body(content = NewReplay, example = json!({"kind": "deliveries", "filter": {"endpoint_id": "ep_01980f6e2b7a7c3e9f0a1b2c3d4e5f60"}, "dry_run": true})),
    responses(
        (status = 200, body = DryReplay, description = "What the replay would come to."),
        (status = 202, body = Replay, description = "An instance begins with it within seconds."),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/replays")]
pub async fn create_replay(
    admin: AdminKey,
    body: Json<NewReplay>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let NewReplay { kind, filter, rate, dry_run } = body.0;
    if !(1..=MAX_RATE).contains(&rate) {
        return Err(Problem::of_field("rate", "A rate is 1 to 1000 a second."));
    }
    let (selection, by) = (filter.selection(kind)?, Person::Key(admin.key_id));
    if dry_run {
        return Ok(HttpResponse::Ok().json(dry(&context, selection, by).await?));
    }
    let replays = context.parts().replays.clone();
    let made = context.apart(async move { replays.start(selection, rate, by).await }).await??;
    Ok(HttpResponse::Accepted().json(Replay::from(made)))
}

async fn dry(context: &Context, selection: Selection, by: Person) -> Result<DryReplay, Problem> {
    let (replays, now) = (context.parts().replays.clone(), context.parts().clock.now());
    match selection {
        Selection::Deliveries(filter) => {
            let found = context.ask(move |store| async move { store.matching_deliveries(&filter, now, SAMPLE).await });
            let (matched, sample) = found.await?;
            let deliveries = sample.into_iter().map(Delivery::from).collect();
            Ok(DryReplay { dry_run: true, matched, deliveries, ..DryReplay::default() })
        }
        Selection::Receipts(filter) => {
            let run: DryRun = context.apart(async move { replays.dry_run(&filter, by).await }).await??;
            let (judged, verdicts) = (run.judged.len(), run.verdicts());
            let shown = usize::try_from(SAMPLE).unwrap_or(usize::MAX);
            let receipts = run.judged.into_iter().take(shown).map(|judged| JudgedReceipt::of(judged, true)).collect();
            Ok(DryReplay { dry_run: true, matched: run.matched, judged, verdicts, receipts, ..DryReplay::default() })
        }
    }
}

/// All replays of many, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("state" = Option<ReplayState>, Query)),
    responses((status = 200, body = Listed<Replay>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/replays")]
pub async fn list_replays(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["state"])?;
    let ask = |store: std::sync::Arc<dyn crate::store::Store>, filter: crate::store::reading::Filter, page| async move {
        store.replay_jobs(filter.status, page).await
    };
    list::<Replay, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// One replay of many: how far it has come.
#[utoipa::path(
    tag = "admin",
    params(("id" = ReplayId, Path)),
    responses((status = 200, body = Replay), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/replays/{id}")]
pub async fn get_replay(
    _admin: AdminKey,
    id: PathId<ReplayId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.replay_job(id.0).await }).await?;
    Ok(HttpResponse::Ok().json(Replay::from(found.ok_or_else(Problem::not_found)?)))
}

/// Ends a replay of many; what was replayed stays so. Again changes nothing. 409 where it was done by itself.
#[utoipa::path(
    tag = "admin",
    params(("id" = ReplayId, Path)),
    responses((status = 200, body = Replay), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/replays/{id}/cancel")]
pub async fn cancel_replay(
    admin: AdminKey,
    id: PathId<ReplayId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (now, by) = (context.parts().clock.now(), Person::Key(admin.key_id));
    match context.ask(move |store| async move { store.cancel_replay(id.0, by, now).await }).await? {
        Canceled::Is(stands) => Ok(HttpResponse::Ok().json(Replay::from(*stands))),
        Canceled::WasDone => Err(Problem::of(Code::Conflict).saying("The replay is done; nothing is left to cancel.")),
    }
}
