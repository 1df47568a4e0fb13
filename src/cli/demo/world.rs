//! Whom the demo is about: one operator with a program, three affiliates, and an endpoint for each of them.
//!
//! All of it is made through the admin interface, as a person would. It is kept only when it is complete: a set-up
//! that was killed half-way is begun anew, and what it left behind stays unused.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::{Answer, Client, NoAnswer};
use super::plan::{AFFILIATES, CURRENCY, GOALS};
use crate::domain::ids::{AffiliateId, EndpointId, OperatorId};

/// The name of the operator's endpoint.
pub const OPERATOR_ENDPOINT: &str = "operator";

/// Everything that was made, with its secrets.
#[derive(Serialize, Deserialize)]
pub struct World {
    /// The operator.
    pub operator_id: OperatorId,
    /// The key that its server sends with.
    pub operator_key: String,
    /// What its server signs with, as the scheme `body` has it.
    pub source_secret: String,
    /// The affiliates, in the order of [`super::plan::Story::affiliate`].
    pub affiliates: Vec<Affiliate>,
    /// The endpoints: one for each affiliate, and the operator's.
    pub endpoints: Vec<Endpoint>,
}

/// An affiliate.
#[derive(Serialize, Deserialize)]
pub struct Affiliate {
    /// Its id.
    pub id: AffiliateId,
    /// Its key.
    pub key: String,
    /// The code of its tracking link.
    pub link: String,
}

/// An endpoint.
#[derive(Serialize, Deserialize)]
pub struct Endpoint {
    /// The last part of its address.
    pub name: String,
    /// Its id.
    pub id: EndpointId,
    /// What its messages are signed with.
    pub secret: String,
}

/// Why it could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error("{0}")]
    NoAnswer(#[from] NoAnswer),
    #[error("{path} answered {status} {code}: {detail}")]
    Refused { path: String, status: u16, code: String, detail: String },
    #[error("an answer has no {0} of the right form")]
    Form(&'static str),
}

/// The name of an affiliate's endpoint.
pub fn affiliate_endpoint(number: usize) -> String {
    format!("affiliate-{number}")
}

fn hook(receiver_port: u16, name: &str) -> String {
    format!("http://127.0.0.1:{receiver_port}/{name}")
}

/// Makes a world whose endpoints lie at the receiver.
pub async fn set_up(admin: &mut Client, demo: &str, receiver_port: u16) -> Result<World, SetUpError> {
    let operator = create(admin, "/v1/admin/operators", json!({ "name": format!("Demo operator {demo}") })).await?;
    let operator_id = text(&operator, "/id")?;
    let source_id = text(&operator, "/canonical_source/id")?;
    let source = format!("/v1/admin/sources/{source_id}");
    let secret = create(admin, &format!("{source}/secrets"), json!({})).await?;
    change(admin, &source, json!({ "signature_scheme": "body" })).await?;
    let key = json!({ "name": "Demo server", "role": "operator", "source_id": source_id });
    let operator_key = create(admin, "/v1/admin/keys", key).await?;
    let program_id = program(admin, &operator_id).await?;

    let mut affiliates = Vec::new();
    let mut endpoints = Vec::new();
    for number in 0..AFFILIATES {
        let affiliate = affiliate(admin, &format!("Demo affiliate {demo}-{number}"), &program_id).await?;
        let name = affiliate_endpoint(number);
        let endpoint = json!({ "affiliate_id": affiliate.id, "url": hook(receiver_port, &name) });
        endpoints.push(endpoint_of(create(admin, "/v1/admin/endpoints", endpoint).await?, name)?);
        affiliates.push(affiliate);
    }
    let name = OPERATOR_ENDPOINT.to_owned();
    let endpoint = json!({ "operator_id": operator_id, "url": hook(receiver_port, &name) });
    endpoints.push(endpoint_of(create(admin, "/v1/admin/endpoints", endpoint).await?, name)?);
    Ok(World {
        operator_id: operator_id.parse().map_err(|_| SetUpError::Form("operator id"))?,
        operator_key: text(&operator_key, "/key")?,
        source_secret: text(&secret, "/secret")?,
        affiliates,
        endpoints,
    })
}

/// Tells the service that the receiver has another port now.
pub async fn move_endpoints(admin: &mut Client, world: &World, receiver_port: u16) -> Result<(), SetUpError> {
    for endpoint in &world.endpoints {
        let path = format!("/v1/admin/endpoints/{}", endpoint.id);
        change(admin, &path, json!({ "url": hook(receiver_port, &endpoint.name) })).await?;
    }
    Ok(())
}

/// A program with its goals and a plan that pays a fixed amount for each.
async fn program(admin: &mut Client, operator_id: &str) -> Result<String, SetUpError> {
    let plan = json!({ "operator_id": operator_id, "name": "Demo plan" });
    let plan_id = text(&create(admin, "/v1/admin/plans", plan).await?, "/id")?;
    let rate = |(goal, _, cents): &(&str, &str, i64)| json!({ "goal": goal, "amount": format!("{}.{:02}", cents / 100, cents % 100), "currency": CURRENCY });
    let terms = json!({ "model": "fixed", "rates": GOALS.iter().map(rate).collect::<Vec<_>>() });
    create(admin, &format!("/v1/admin/plans/{plan_id}/versions"), json!({ "terms": terms })).await?;
    let program = json!({
        "operator_id": operator_id,
        "name": "Demo program",
        "currency": CURRENCY,
        "destination_url": "https://operator.example/landing?click_id={click_id}",
        "default_plan_id": plan_id,
    });
    let program_id = text(&create(admin, "/v1/admin/programs", program).await?, "/id")?;
    for (name, policy, _) in GOALS {
        let goal = json!({ "program_id": program_id, "name": name, "policy": policy });
        create(admin, "/v1/admin/goals", goal).await?;
    }
    Ok(program_id)
}

async fn affiliate(admin: &mut Client, name: &str, program_id: &str) -> Result<Affiliate, SetUpError> {
    let id = text(&create(admin, "/v1/admin/affiliates", json!({ "name": name })).await?, "/id")?;
    let key = json!({ "name": name, "role": "affiliate", "affiliate_id": id });
    let key = text(&create(admin, "/v1/admin/keys", key).await?, "/key")?;
    let link = json!({ "program_id": program_id, "affiliate_id": id });
    let link = text(&create(admin, "/v1/admin/links", link).await?, "/code")?;
    Ok(Affiliate { id: id.parse().map_err(|_| SetUpError::Form("affiliate id"))?, key, link })
}

fn endpoint_of(made: Value, name: String) -> Result<Endpoint, SetUpError> {
    let id = text(&made, "/id")?.parse().map_err(|_| SetUpError::Form("endpoint id"))?;
    Ok(Endpoint { name, id, secret: text(&made, "/secret")? })
}

async fn create(admin: &mut Client, path: &str, body: Value) -> Result<Value, SetUpError> {
    accepted(path, admin.post(path, &[], body.to_string()).await?)
}

async fn change(admin: &mut Client, path: &str, body: Value) -> Result<Value, SetUpError> {
    accepted(path, admin.patch(path, body.to_string()).await?)
}

fn accepted(path: &str, answer: Answer) -> Result<Value, SetUpError> {
    let body = answer.json();
    if (200..300).contains(&answer.status) {
        return Ok(body);
    }
    let said = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (code, detail) = (said("code"), said("detail"));
    Err(SetUpError::Refused { path: path.to_owned(), status: answer.status, code, detail })
}

fn text(body: &Value, pointer: &'static str) -> Result<String, SetUpError> {
    let text = body.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).ok_or(SetUpError::Form(pointer))
}
