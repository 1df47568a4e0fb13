//! Setting things up through the admin interface, as a person would.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::client::{Answer, Client, NoAnswer};

/// The highest rate that a key can have.
const UNLIMITED_PER_MINUTE: u32 = 100_000_000;

/// From when plans apply: long ago, so that they still do when the service's clock is stepped back.
const VALID_FROM: &str = "2020-01-01T00:00:00Z";

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error("{0}")]
    NoAnswer(#[from] NoAnswer),
    #[error("{path} answered {status} {code}: {detail}")]
    Refused { path: String, status: u16, code: String, detail: String },
    #[error("an answer has no {0} of the right form")]
    Form(&'static str),
}

/// An operator whose server may send.
pub struct Operator {
    /// Its id, as text.
    pub id: String,
    /// The key that its server sends with.
    pub key: String,
    /// What its server signs with, as the scheme `body` has it.
    pub secret: String,
}

/// A goal of a program: its name, its policy and what the affiliate earns by it, in cents.
pub type Goal = (&'static str, &'static str, i64);

/// Makes an operator whose source demands the scheme `body`, with a key for its server that may send as fast as it likes.
pub async fn operator(admin: &mut Client, name: &str) -> Result<Operator, SetUpError> {
    let operator = create(admin, "/v1/admin/operators", json!({ "name": name })).await?;
    sender(admin, &text(&operator, "/canonical_source/id")?, name).await
}

/// The operator of a source that is there already, which demands the scheme `body` from now on, with a new key and a new
/// secret.
pub async fn sender(admin: &mut Client, source_id: &str, name: &str) -> Result<Operator, SetUpError> {
    let source = format!("/v1/admin/sources/{source_id}");
    let secret = create(admin, &format!("{source}/secrets"), json!({})).await?;
    let changed = change(admin, &source, json!({ "signature_scheme": "body" })).await?;
    let key =
        json!({ "name": name, "role": "operator", "source_id": source_id, "rate_per_minute": UNLIMITED_PER_MINUTE });
    let key = create(admin, "/v1/admin/keys", key).await?;
    Ok(Operator { id: text(&changed, "/operator_id")?, key: text(&key, "/key")?, secret: text(&secret, "/secret")? })
}

/// Makes a program with its goals and a plan that pays a fixed amount for each; answers its id.
pub async fn program(
    admin: &mut Client,
    operator_id: &str,
    name: &str,
    currency: &str,
    goals: &[Goal],
) -> Result<String, SetUpError> {
    let plan = json!({ "operator_id": operator_id, "name": format!("{name}'s plan") });
    let plan_id = text(&create(admin, "/v1/admin/plans", plan).await?, "/id")?;
    let rate = |(goal, _, cents): &Goal| json!({ "goal": goal, "amount": format!("{}.{:02}", cents / 100, cents % 100), "currency": currency });
    let terms = json!({ "model": "fixed", "rates": goals.iter().map(rate).collect::<Vec<_>>() });
    let version = json!({ "terms": terms, "valid_from": VALID_FROM });
    create(admin, &format!("/v1/admin/plans/{plan_id}/versions"), version).await?;
    let program = json!({
        "operator_id": operator_id,
        "name": name,
        "currency": currency,
        "destination_url": "https://operator.example/landing?click_id={click_id}",
        "default_plan_id": plan_id,
    });
    let program_id = text(&create(admin, "/v1/admin/programs", program).await?, "/id")?;
    for (name, policy, _) in goals {
        let goal = json!({ "program_id": program_id, "name": name, "policy": policy });
        create(admin, "/v1/admin/goals", goal).await?;
    }
    Ok(program_id)
}

/// Makes an affiliate with a tracking link into a program; answers the affiliate's id and the link's code.
pub async fn affiliate(admin: &mut Client, name: &str, program_id: &str) -> Result<(String, String), SetUpError> {
    let id = text(&create(admin, "/v1/admin/affiliates", json!({ "name": name })).await?, "/id")?;
    let link = json!({ "program_id": program_id, "affiliate_id": id });
    let link = text(&create(admin, "/v1/admin/links", link).await?, "/code")?;
    Ok((id, link))
}

/// Visitors follow a link; the ids of their clicks.
pub async fn visits(service: SocketAddr, link: &str, count: usize) -> Result<Vec<String>, SetUpError> {
    let mut visitor = Client::new(service, None);
    let mut clicks = Vec::with_capacity(count);
    for _ in 0..count {
        let answer = visitor.get(&format!("/c/{link}?sub1=visit")).await?;
        let click = answer.location().and_then(|location| location.split("click_id=").nth(1));
        clicks.push(click.ok_or(SetUpError::Form("click id"))?.to_owned());
    }
    Ok(clicks)
}

/// The address of a receiver of ours on this machine.
pub fn hook(port: u16, name: &str) -> String {
    format!("http://127.0.0.1:{port}/{name}")
}

/// Posts something to be made; answers what was made.
pub async fn create(admin: &mut Client, path: &str, body: Value) -> Result<Value, SetUpError> {
    accepted(path, admin.post(path, &[], body.to_string()).await?)
}

/// Posts something to be made once under this name; answers what it is now.
pub async fn create_once(admin: &mut Client, path: &str, name: &str, body: Value) -> Result<Value, SetUpError> {
    accepted(path, admin.post(path, &[("Idempotency-Key", name)], body.to_string()).await?)
}

/// Changes something; answers what it is now.
pub async fn change(admin: &mut Client, path: &str, body: Value) -> Result<Value, SetUpError> {
    accepted(path, admin.patch(path, body.to_string()).await?)
}

/// Asks for something.
pub async fn read(admin: &mut Client, path: &str) -> Result<Value, SetUpError> {
    accepted(path, admin.get(path).await?)
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

/// The text at a JSON pointer.
pub fn text(body: &Value, pointer: &'static str) -> Result<String, SetUpError> {
    let text = body.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).ok_or(SetUpError::Form(pointer))
}
