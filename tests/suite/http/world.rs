//! A whole set-up, made through the API alone.

use std::ops::Deref;

use serde_json::{Value, json};

use super::{Api, Service};
use crate::support::engines::Kind;

/// A service in this process, and what is set up in it.
pub struct World {
    pub service: Service,
    setup: Setup,
}

/// An operator, a program, an affiliate and keys for each role, in a service that runs anywhere.
pub struct Setup {
    api: Api,
    pub operator: String,
    pub source: String,
    pub program: String,
    pub affiliate: String,
    pub plan: String,
    /// The link's code.
    pub link: String,
    pub endpoint: String,
    /// The operator's key.
    pub key: String,
    /// The affiliate's key.
    pub affiliate_key: String,
}

/// The text at `name` of a JSON object.
pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

impl World {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::on(Kind::Sqlite, settings).await
    }

    /// On an empty database of this engine.
    pub async fn on(engine: Kind, settings: &[(&str, &str)]) -> Self {
        let service = Service::on(engine, settings).await;
        let setup = Setup::make(service.api.clone()).await;
        Self { service, setup }
    }
}

impl Deref for World {
    type Target = Setup;

    fn deref(&self) -> &Setup {
        &self.setup
    }
}

impl Deref for Setup {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Setup {
    pub async fn make(api: Api) -> Self {
        let make = async |path: &str, body: Value| {
            api.admin("POST", &format!("/v1/admin/{path}")).json(&body).send().await.expect(201)
        };
        let operator = make("operators", json!({"name": "Casino"})).await;
        let (operator, source) = (text(&operator, "id"), text(&operator["canonical_source"], "id"));
        let plan = text(&make("plans", json!({"operator_id": operator, "name": "Standard"})).await, "id");
        let rates = json!([
            {"goal": "lead", "amount": "5.00", "currency": "EUR"},
            {"goal": "sale", "amount": "7.50", "currency": "EUR"}
        ]);
        let version = json!({"valid_from": "2020-01-01T00:00:00Z", "terms": {"model": "fixed", "rates": rates}});
        make(&format!("plans/{plan}/versions"), version).await;
        let program = json!({
            "operator_id": operator, "name": "Poker", "currency": "EUR", "default_plan_id": plan,
            "destination_url": "https://poker.example.com/play?ref={click_id}"
        });
        let program = text(&make("programs", program).await, "id");
        make("goals", json!({"program_id": program, "name": "lead"})).await;
        make("goals", json!({"program_id": program, "name": "sale", "policy": "many"})).await;
        let affiliate = text(&make("affiliates", json!({"name": "Blog"})).await, "id");
        let link = text(&make("links", json!({"program_id": program, "affiliate_id": affiliate})).await, "code");
        // Nobody listens there: what is sent stays undelivered.
        let endpoint = json!({"affiliate_id": affiliate, "url": "http://127.0.0.1:9/hook"});
        let endpoint = text(&make("endpoints", endpoint).await, "id");
        let key = json!({"name": "server", "role": "operator", "source_id": source});
        let key = text(&make("keys", key).await, "key");
        let affiliate_key = json!({"name": "blog", "role": "affiliate", "affiliate_id": affiliate});
        let affiliate_key = text(&make("keys", affiliate_key).await, "key");
        Self { api, operator, source, program, affiliate, plan, link, endpoint, key, affiliate_key }
    }

    /// Another key of the operator's, with these fields besides.
    pub async fn operator_key(&self, fields: Value) -> String {
        let mut body = json!({"name": "other", "role": "operator", "source_id": self.source});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let made = self.admin("POST", "/v1/admin/keys").json(&body).send().await.expect(201);
        text(&made, "key")
    }

    /// Imports a click of the affiliate's.
    pub async fn import_click(&self, click_id: &str) {
        let click = json!([{"click_id": click_id, "link": self.link}]);
        let reply = self.call("POST", "/v1/clicks").key(&self.key).json(&click).send().await.expect(200);
        assert_eq!(reply["results"][0]["result"], "recorded", "{reply}");
    }

    /// Changes the operator's source.
    pub async fn change_source(&self, change: Value) {
        let target = format!("/v1/admin/sources/{}", self.source);
        self.admin("PATCH", &target).json(&change).send().await.expect(200);
    }

    /// What an admin sees at `target`.
    pub async fn look(&self, target: &str) -> Value {
        self.admin("GET", &format!("/v1/admin/{target}")).send().await.expect(200)
    }
}
