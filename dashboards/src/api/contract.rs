//! What programs may rely on: the document of every route, pages that lead on, compressed answers, and outcomes.

use super::tests::{Answered, Fixture};
use super::*;
use crate::audit::{AuditEntry, Outcome};
use axum::body::Body;
use axum::http::Request;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;

/// The methods that a path answers, by the router's own word.
async fn methods_of(fixture: &Fixture, pattern: &str) -> BTreeSet<String> {
    let path = pattern.replace("{model}", "bed").replace("{id}", "x");
    let asked = Request::builder().method("BREW").uri(path).body(Body::empty()).unwrap();
    let answer = Answered::of(fixture.send(asked).await).await;
    let allowed = answer.header("allow").split(',').map(|method| method.trim().to_owned());
    allowed.filter(|method| method != "HEAD" && !method.is_empty()).collect()
}

#[tokio::test]
async fn the_document_names_every_route_with_its_methods_and_no_other() {
    let fixture = Fixture::new();
    let routes = routes(HttpTelemetry::new(fixture.exporter.clone()));
    let documented = openapi::documented();
    let described: BTreeSet<_> = documented.keys().copied().collect();
    assert_eq!(described, routes.patterns().iter().copied().collect());
    for (path, methods) in documented {
        assert_eq!(methods_of(&fixture, path).await, methods, "{path}");
    }
}

#[tokio::test]
async fn the_document_says_what_each_operation_takes_and_which_role_it_needs() {
    let document = Fixture::new().get("/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], json!("3.1.0"));
    let promote = &document["paths"]["/v1/models/{model}/promote"]["post"];
    assert_eq!(promote["x-driftline-role"], json!("promote"));
    assert_eq!(promote["parameters"][0]["name"], json!("model"));
    let body = &promote["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["required"], json!(["version", "expected_champion", "reason"]));
    assert_eq!(document["paths"]["/healthz"]["get"]["x-driftline-role"], Value::Null);
    let paths = document["paths"].as_object().unwrap().values();
    let operations: Vec<_> = paths.flat_map(|path| path.as_object().unwrap().values()).collect();
    let ids: BTreeSet<_> = operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len(), "an id is used twice");
}

#[tokio::test]
async fn pages_lead_to_the_next_until_there_is_none() {
    let fixture = Fixture::new();
    let entry = |id: usize| AuditEntry { id: format!("c {id}"), what: "retrain".to_owned(), ..AuditEntry::default() };
    fixture.services.trail.write(|trail| (0..7).for_each(|id| trail.record(entry(id))));
    let (mut path, mut seen) = ("/v1/audit?limit=3".to_owned(), Vec::new());
    loop {
        let answer = fixture.get(&path).await;
        seen.extend(answer.json().as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()));
        // What comes in meanwhile moves nothing.
        fixture.services.trail.write(|trail| trail.record(entry(100 + seen.len())));
        let Some(next) = answer.header("link").strip_prefix('<').and_then(|link| link.split('>').next()) else { break };
        path = next.to_owned();
    }
    assert_eq!(seen, ["c 6", "c 5", "c 4", "c 3", "c 2", "c 1", "c 0"]);
}

#[tokio::test]
async fn lists_of_verdicts_and_windows_keep_what_was_asked_for_on_the_next_page() {
    let fixture = Fixture::new();
    let first = fixture.get("/v1/verdicts?model=bed&limit=1").await;
    assert_eq!(first.header("link"), r#"</v1/verdicts?model=bed&limit=1&after=b>; rel="next""#);
    let second = fixture.get("/v1/verdicts?model=bed&limit=1&after=b").await;
    assert_eq!((&second.json()[0]["id"], second.header("link")), (&json!("a"), ""));
    let windows = fixture.get("/v1/models/bed/windows?segment=all&limit=1").await;
    assert_eq!(windows.header("link"), r#"</v1/models/bed/windows?segment=all&limit=1&after=b>; rel="next""#);
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_take_that() {
    let fixture = Fixture::new();
    for path in ["/metrics", "/v1/verdicts"] {
        let plain = fixture.get(path).await;
        assert_eq!(plain.header("content-encoding"), "");
        let packed = Request::get(path).header("accept-encoding", "gzip").body(Body::empty()).unwrap();
        let packed = Answered::of(fixture.send(packed).await).await;
        assert_eq!(packed.header("content-encoding"), "gzip", "{path}");
        assert!(packed.body.len() < plain.body.len() / 2, "{path}: {} of {}", packed.body.len(), plain.body.len());
        let mut text = String::new();
        GzDecoder::new(packed.body.as_ref()).read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().next(), std::str::from_utf8(&plain.body).unwrap().lines().next());
    }
}

#[tokio::test]
async fn what_became_of_a_command_is_told_where_people_look() {
    let fixture = Fixture::new();
    fixture.get("/v1/commands/c-9").await.problem(404);
    let entry = AuditEntry {
        id: "c-9".to_owned(),
        what: "promote".to_owned(),
        model: Some("bed".to_owned()),
        version: Some("v9".to_owned()),
        reason: Some("because".to_owned()),
        ..AuditEntry::default()
    };
    fixture.services.trail.write(|trail| trail.record(entry));
    assert_eq!(fixture.get("/v1/commands/c-9").await.json()["state"], json!("pending"));
    let refused = Outcome::Refused("the champion is v1".to_owned());
    fixture.services.trail.write(|trail| trail.ended("c-9", refused));
    let told = fixture.get("/v1/commands/c-9").await.json();
    assert_eq!((&told["state"], &told["outcome"]), (&json!("refused"), &json!("the champion is v1")));
    let shown = fixture.get("/v1/models/bed").await.json();
    assert_eq!((&shown["commands"][0], &shown["model"]), (&told, &json!("bed")));
    assert_eq!(fixture.get("/v1/audit").await.json()[0], told);
}
