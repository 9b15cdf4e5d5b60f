//! The OpenAPI document: every path with what it takes, answers and needs.
//!
//! It is made from the one table below. A test asks the router for each of its paths which methods it answers, and compares
//! both ways; the role of an operation is what the guard asks for. Libraries that derive such a document from handlers would
//! change how half of this workspace is built (they want features of `indexmap` or `serde_json` that Arrow is built without).

use crate::api::error::ProblemKind;
use crate::api::guard::{Need, needed};
use axum::Json;
use axum::http::Method;
use serde_json::{Map, Value, json};

/// One method of one path.
struct Operation {
    method: Method,
    path: &'static str,
    summary: &'static str,
    takes: Takes,
    answers: Answers,
}

/// What is sent along.
enum Takes {
    Nothing,
    /// Parameters behind the `?`.
    Query(&'static [&'static str]),
    /// Rows, in one of the formats of events.
    Rows,
    /// An object of JSON with these members; those that end in `?` may be left out.
    Object(&'static [&'static str]),
}

/// What an answer holds.
#[derive(Clone, Copy)]
enum Answers {
    /// An array of objects, in pages.
    List,
    Object,
    /// An object that says under which id a command was taken.
    Accepted,
    Text(&'static str),
}

const PAGE: &[&str] = &["limit", "after"];

const fn get(path: &'static str, summary: &'static str, takes: Takes, answers: Answers) -> Operation {
    Operation { method: Method::GET, path, summary, takes, answers }
}

const fn post(path: &'static str, summary: &'static str, takes: Takes, answers: Answers) -> Operation {
    Operation { method: Method::POST, path, summary, takes, answers }
}

const OPERATIONS: &[Operation] = &[
    post("/v1/events", "Send inference events.", Takes::Rows, Answers::Object),
    post("/v1/labels", "Send labels.", Takes::Rows, Answers::Object),
    post("/v1/feedback", "Send feedback.", Takes::Rows, Answers::Object),
    post(
        "/v1/alerts",
        "Take alerts that fire as causes: a webhook of Alertmanager's or Grafana's.",
        Takes::Object(&["alerts"]),
        Answers::Object,
    ),
    get("/v1/models", "Every model with its champion.", Takes::Query(PAGE), Answers::List),
    get(
        "/v1/models/{model}",
        "One model: its history, and its last commands with what became of them.",
        Takes::Nothing,
        Answers::Object,
    ),
    get("/v1/models/{model}/versions", "The versions of a model, newest first.", Takes::Query(PAGE), Answers::List),
    get(
        "/v1/models/{model}/windows",
        "The judged windows of a model, latest first.",
        Takes::Query(&["limit", "after", "segment", "monitor"]),
        Answers::List,
    ),
    get(
        "/v1/models/{model}/requests",
        "The retrain requests of a model, newest first.",
        Takes::Query(PAGE),
        Answers::List,
    ),
    post("/v1/models/{model}/retrain", "Ask for a training.", Takes::Object(&["reason"]), Answers::Accepted),
    post(
        "/v1/models/{model}/promote",
        "Make a version champion, past the gate.",
        Takes::Object(&["version", "expected_champion", "reason"]),
        Answers::Accepted,
    ),
    post(
        "/v1/models/{model}/rollback",
        "Go back to an earlier champion.",
        Takes::Object(&["version?", "expected_champion", "reason"]),
        Answers::Accepted,
    ),
    post(
        "/v1/models/{model}/release",
        "Let challengers be promoted again after a roll-back.",
        Takes::Object(&["expected_champion", "reason"]),
        Answers::Accepted,
    ),
    get("/v1/commands/{id}", "A command and what became of it.", Takes::Nothing, Answers::Object),
    get("/v1/audit", "Who asked for what, why and from where, newest first.", Takes::Query(PAGE), Answers::List),
    get("/v1/verdicts", "The last verdicts.", Takes::Query(&["limit", "after", "model"]), Answers::List),
    get("/v1/verdicts/{id}", "One verdict with its tests.", Takes::Nothing, Answers::Object),
    get("/v1/openapi.json", "This document.", Takes::Nothing, Answers::Object),
    get("/metrics", "The metrics, for Prometheus.", Takes::Nothing, Answers::Text("text/plain")),
    get("/healthz", "Whether the service lives.", Takes::Nothing, Answers::Object),
    get("/readyz", "Whether the service is ready, and why it is not.", Takes::Nothing, Answers::Object),
];

pub(super) async fn document() -> Json<Value> {
    Json(built())
}

fn built() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let at = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(at) = at.as_object_mut() {
            at.insert(operation.method.as_str().to_ascii_lowercase(), operation.described());
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Driftline", "version": env!("CARGO_PKG_VERSION"), "description": "Monitoring, drift and retraining of machine-learning models from their event streams.", "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}, "password": {"type": "http", "scheme": "basic"}},
            "schemas": {"Problem": problem()},
        },
    })
}

fn problem() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "required": ["type", "title", "status", "detail"],
        "properties": {"type": text, "title": text, "status": {"type": "integer"}, "detail": text},
    })
}

impl Operation {
    fn described(&self) -> Value {
        let mut described = json!({
            "summary": self.summary,
            "operationId": self.id(),
            "parameters": self.parameters(),
            "responses": self.responses(),
        });
        let Some(members) = described.as_object_mut() else { return described };
        if let Some(body) = self.takes.body() {
            members.insert("requestBody".to_owned(), json!({"required": true, "content": body}));
        }
        if let Need::Role(role) = needed(&self.method, self.path) {
            members.insert("security".to_owned(), json!([{}, {"token": []}, {"password": []}]));
            members.insert("x-driftline-role".to_owned(), json!(role.name()));
        }
        described
    }

    fn id(&self) -> String {
        let word = |sign: char| if sign.is_ascii_alphanumeric() { sign } else { '_' };
        let path: String = self.path.chars().map(word).collect();
        format!("{}_{}", self.method.as_str().to_ascii_lowercase(), path.trim_matches('_').replace("__", "_"))
    }

    fn parameters(&self) -> Vec<Value> {
        let in_path = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let in_path =
            in_path.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
        let in_query = match self.takes {
            Takes::Query(names) => names,
            _ => &[],
        };
        let in_query = in_query.iter().map(|name| {
            let schema = match *name {
                "limit" => json!({"type": "integer", "minimum": 1, "maximum": 1_000, "default": 100}),
                _ => json!({"type": "string"}),
            };
            json!({"name": name, "in": "query", "required": false, "schema": schema})
        });
        in_path.chain(in_query).collect()
    }

    fn responses(&self) -> Value {
        let object = json!({"type": "object"});
        let (status, kind, schema) = match self.answers {
            Answers::List => ("200", "application/json", json!({"type": "array", "items": object})),
            Answers::Object => ("200", "application/json", object),
            Answers::Accepted => {
                let id = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}});
                ("202", "application/json", id)
            }
            Answers::Text(kind) => ("200", kind, json!({"type": "string"})),
        };
        let problem = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
        let refused = ProblemKind::Internal.title();
        json!({
            status: {"description": "Done.", "content": {kind: {"schema": schema}}},
            "4XX": {"description": "The request is refused.", "content": problem},
            "5XX": {"description": refused, "content": problem},
        })
    }
}

impl Takes {
    /// What a body may be, by its content type.
    fn body(&self) -> Option<Value> {
        match self {
            Self::Nothing | Self::Query(_) => None,
            Self::Rows => {
                let kinds = crate::api::Format::content_types();
                Some(kinds.map(|kind| (kind.to_owned(), json!({}))).collect::<Map<_, _>>().into())
            }
            Self::Object(members) => {
                let name = |member: &&str| member.trim_end_matches('?').to_owned();
                let required: Vec<_> = members.iter().filter(|member| !member.ends_with('?')).map(name).collect();
                let schema = |member: &&str| match *member {
                    "alerts" => json!({"type": "array", "items": {"type": "object"}}),
                    "expected_champion" => json!({"type": ["string", "null"]}),
                    _ => json!({"type": "string"}),
                };
                let properties: Map<_, _> = members.iter().map(|member| (name(member), schema(member))).collect();
                let schema = json!({"type": "object", "required": required, "properties": properties});
                Some(json!({"application/json": {"schema": schema}}))
            }
        }
    }
}

#[cfg(test)]
pub(super) fn documented() -> std::collections::BTreeMap<&'static str, std::collections::BTreeSet<String>> {
    let mut documented = std::collections::BTreeMap::<_, std::collections::BTreeSet<_>>::new();
    for operation in OPERATIONS {
        documented.entry(operation.path).or_default().insert(operation.method.to_string());
    }
    documented
}
