//! Routes and `openapi.yaml` agree, both ways.

use crate::http::Service;
use crate::http::roles::operations;

#[test]
fn the_committed_document_is_the_generated_one() {
    let committed = include_str!("../../openapi.yaml");
    assert!(
        committed == postback::http::openapi_yaml(),
        "openapi.yaml is old: write it anew with `cargo run -- openapi > openapi.yaml`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_documented_operation_is_served_and_nothing_else_is() {
    let service = Service::start().await;
    let zeros = "0".repeat(32);
    let mut methods: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for operation in operations() {
        let path = operation.path.replace("{id}", &format!("rc_{zeros}")).replace("{code}", "aaaaaaaa");
        if operation.path != "/c/{link}" {
            let reply = service.call(&operation.method, &path).send().await;
            assert!(!matches!(reply.status, 404 | 405), "{} {path}: {}", operation.method, reply.status);
        }
        methods.entry(path.replace("{link}", "aaaaaaaa")).or_default().push(operation.method);
    }
    for (path, documented) in &methods {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if documented.iter().any(|known| known == method) {
                continue;
            }
            let reply = service.call(method, path).send().await;
            reply.problem(405, "bad_method");
            let allowed: Vec<&str> = reply.header("allow").unwrap().split(", ").collect();
            let mut known: Vec<&str> = documented.iter().map(String::as_str).collect();
            known.sort_unstable();
            let mut sorted = allowed.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, known, "{method} {path}");
        }
        service.call("GET", &format!("{path}/neither/documented")).send().await.problem(404, "not_found");
    }
    for path in ["/", "/v1", "/v1/admin", "/v1/postbacks/", "/c/", "//livez"] {
        service.call("GET", path).send().await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_its_page_are_served() {
    let service = Service::start().await;
    let document = service.call("GET", "/openapi.yaml").send().await;
    assert_eq!((document.status, document.text()), (200, postback::http::openapi_yaml().as_str()));
    assert_eq!(service.call("GET", "/docs").send().await.header("location"), Some("/docs/"));
    let page = service.call("GET", "/docs/").send().await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("swagger"), "{}", page.text());
    let configuration = service.call("GET", "/docs/swagger-initializer.js").send().await;
    assert!(configuration.text().contains("/openapi.yaml"), "{}", configuration.text());
    let problems = service.call("GET", "/docs/problems").send().await;
    assert!(problems.text().contains("id=bad_amount"), "{}", problems.text());
}
