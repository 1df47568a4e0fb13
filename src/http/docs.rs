//! The document of the interface: generated from the handlers, served as YAML and as a page, and asked which methods
//! a path has.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use actix_web::dev::HttpServiceFactory;
use actix_web::http::header;
use actix_web::{App, HttpRequest, HttpResponse, get, web};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa_actix_web::AppExt as _;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::problem::{Problem, ProblemDocument, title};
use super::routes::routes;
use crate::domain::verdict::Code;

/// The parts of the document that no handler says.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "postback",
        description = "Affiliate postbacks in, commissions to the cent, webhooks out.\n\nErrors are RFC 9457 problem \
            documents with a stable `code`. Amounts are decimal strings, times RFC 3339. Lists are newest first and \
            go page by page: send `next_cursor` back as `cursor`. Every answer carries `X-Request-Id`.",
        license(name = "MIT", identifier = "MIT")
    ),
    components(schemas(ProblemDocument)),
    tags(
        (name = "intake", description = "What operators' servers send."),
        (name = "visitors", description = "What visitors follow."),
        (name = "affiliate", description = "What an affiliate sees of its own."),
        (name = "admin", description = "Setting up and looking at everything."),
        (name = "operations", description = "For those who run the service.")
    )
)]
struct Frame;

/// The document, and what the server needs of it.
#[derive(Clone)]
pub struct Documentation {
    yaml: String,
    methods: BTreeMap<String, Vec<&'static str>>,
}

/// The document of all routes.
#[must_use]
pub fn openapi() -> OpenApi {
    let mut frame = Frame::openapi();
    let schemes = &mut frame.components.get_or_insert_default().security_schemes;
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    schemes.insert("bearer".to_owned(), bearer.into());
    schemes.insert("api_key".to_owned(), SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Api-Key"))).into());
    App::new().into_utoipa_app().openapi(frame).configure(routes).split_for_parts().1
}

/// The committed `openapi.yaml`.
///
/// # Panics
/// When the document cannot be written as YAML; a test writes it.
#[must_use]
pub fn openapi_yaml() -> String {
    #[expect(clippy::expect_used, reason = "the document is made of constants; a test writes it")]
    openapi().to_yaml().expect("the document can be written as YAML")
}

/// The document and what is made of it, once for each process.
#[must_use]
pub fn documentation() -> Documentation {
    let paths = openapi().paths.paths;
    let methods = paths.into_iter().map(|(path, item)| (path, methods_of(&item))).collect();
    Documentation { yaml: openapi_yaml(), methods }
}

fn methods_of(item: &PathItem) -> Vec<&'static str> {
    let all = [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ];
    all.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method).collect()
}

impl Documentation {
    /// The browsable page.
    pub fn page(&self) -> impl HttpServiceFactory + 'static {
        SwaggerUi::new("/docs/{_:.*}").config(Config::from("/openapi.yaml").validator_url("none"))
    }

    /// What no route takes: another method of a path that exists, or no path at all.
    ///
    /// # Errors
    /// Always: `bad_method` or `not_found`.
    pub async fn unrouted(request: HttpRequest, document: web::Data<Self>) -> Result<HttpResponse, Problem> {
        let allowed = document.methods.iter().find(|(template, _)| fits(template, request.path()));
        Err(allowed.map_or_else(Problem::not_found, |(_, methods)| Problem::bad_method(methods.join(", "))))
    }
}

/// Whether `path` is one of `template`, whose variable parts stand in braces.
fn fits(template: &str, path: &str) -> bool {
    let (mut parts, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (parts.next(), given.next()) {
            (None, None) => return true,
            (Some(part), Some(text)) if part == text || (part.starts_with('{') && !text.is_empty()) => {}
            _ => return false,
        }
    }
}

/// This document.
#[utoipa::path(tag = "operations", responses((status = 200, body = String, content_type = "application/yaml")))]
#[get("/openapi.yaml")]
pub async fn get_openapi(document: web::Data<Documentation>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/yaml").body(document.yaml.clone())
}

/// The page on which this document can be read.
#[utoipa::path(tag = "operations", responses((status = 302, description = "To the page.")))]
#[get("/docs")]
pub async fn get_docs() -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, "/docs/")).finish()
}

/// Every code of problem documents, and what to do about it.
#[utoipa::path(tag = "operations", responses((status = 200, body = String, content_type = "text/html")))]
#[get("/docs/problems")]
pub async fn get_problems() -> HttpResponse {
    let mut page =
        String::from("<!doctype html><html lang=en><meta charset=utf-8><title>Problems</title><h1>Problems</h1><dl>");
    for code in Code::ALL {
        let (heading, status, sentence) = (title(*code), code.http_status(), code.sentence());
        // Writing to a String cannot fail.
        let _ = write!(page, "<dt id={code}><b>{heading}</b> <code>{code}</code> ({status})<dd>{sentence}");
    }
    page.push_str("</dl></html>");
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_fit_their_paths() {
        assert!(fits("/v1/admin/keys/{id}", "/v1/admin/keys/key_1"));
        for other in ["/v1/admin/keys", "/v1/admin/keys/", "/v1/admin/keys/a/b", "/v1/admin/links/a"] {
            assert!(!fits("/v1/admin/keys/{id}", other), "{other}");
        }
    }
}
