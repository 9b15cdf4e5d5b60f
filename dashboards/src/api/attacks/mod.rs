//! Attacks by name, each with what is promised against it.
//!
//! The tables are requests and their answers; the tests below them need more than one request, or a connection
//! ([`sockets`]). After each attack the service answers as before, and nothing of the attack is in the log.

mod sockets;

use super::tests::{Answered, Fixture, post_request};
use super::*;
use axum::body::{Body, HttpBody};
use axum::http::{Request, StatusCode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::ServiceExt;

/// A request that does harm if it is answered.
struct Attack {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    /// The status it is to get, and a part of what is said.
    status: u16,
    says: &'static str,
}

/// A table of attacks: `name: method path [headers] body => status, words;`.
macro_rules! attacks {
    ($($name:literal : $method:literal $path:literal [$($header:literal = $value:literal),*] $body:literal => $status:literal, $says:literal;)*) => {
        &[$(Attack { name: $name, method: $method, path: $path, headers: &[$(($header, $value)),*], body: $body, status: $status, says: $says }),*]
    };
}

/// Against a service without tokens, from this machine's browser or network.
const OPEN: &[Attack] = attacks! {
    "a rebound name reads models":
        "GET" "/v1/models" ["host" = "rebound.example:9464"] "" => 421, "`api.hosts`";
    "a rebound name reads metrics":
        "GET" "/metrics" ["host" = "rebound.example:9464"] "" => 421, "rebound.example";
    "a rebound name asks for health":
        "GET" "/healthz" ["host" = "rebound.example"] "" => 421, "rebound.example";
    "a rebound name asks for what is not there":
        "GET" "/v2" ["host" = "rebound.example"] "" => 421, "rebound.example";
    "a rebound page promotes, and is its own origin":
        "POST" "/v1/models/bed/promote" ["host" = "rebound.example:9464", "origin" = "http://rebound.example:9464", "content-type" = "application/json"]
        r#"{"version":"v2","expected_champion":"v1","reason":"a page"}"# => 421, "rebound.example";
    "a rebound page sends events":
        "POST" "/v1/events" ["host" = "rebound.example:9464", "content-type" = "application/json"] "row" => 421, "rebound.example";
    "a name that begins like this machine":
        "GET" "/metrics" ["host" = "localhost.evil.example"] "" => 421, "localhost.evil.example";
    "a name that ends in an address":
        "GET" "/metrics" ["host" = "127.0.0.1.nip.example"] "" => 421, "nip.example";
    "the address of no one":
        "GET" "/metrics" ["host" = "0.0.0.0:9464"] "" => 421, "0.0.0.0";
    "a user before the host":
        "GET" "/metrics" ["host" = "localhost@evil.example"] "" => 400, "is not a host";
    "two hosts":
        "GET" "/metrics" ["host" = "localhost", "host" = "evil.example"] "" => 400, "several `host` headers";
    "a target that names another host than the header":
        "GET" "http://localhost/metrics" ["host" = "127.0.0.1"] "" => 400, "different hosts";
    "a cross-site post of JSON":
        "POST" "/v1/models/bed/retrain" ["origin" = "http://evil.example", "content-type" = "application/json"] r#"{"reason":"a page"}"# => 403, "evil.example";
    "a cross-site post of events":
        "POST" "/v1/events" ["origin" = "https://evil.example", "content-type" = "application/json"] "row" => 403, "evil.example";
    "a cross-site read":
        "GET" "/v1/models" ["origin" = "http://evil.example"] "" => 403, "evil.example";
    "a sandboxed page":
        "POST" "/v1/models/bed/retrain" ["origin" = "null", "content-type" = "application/json"] r#"{"reason":"a page"}"# => 403, "`null`";
    "a page of another port of this machine":
        "POST" "/v1/events" ["origin" = "http://localhost:3000", "content-type" = "application/json"] "row" => 403, "localhost:3000";
    "an own origin beside a foreign one":
        "GET" "/v1/models" ["origin" = "http://localhost", "origin" = "http://evil.example"] "" => 403, "evil.example";
    "a script of another site loads models":
        "GET" "/v1/models" ["sec-fetch-site" = "cross-site", "sec-fetch-mode" = "no-cors", "sec-fetch-dest" = "script"] "" => 403, "another site";
    "a frame in a page of another site":
        "GET" "/" ["sec-fetch-site" = "cross-site", "sec-fetch-mode" = "navigate", "sec-fetch-dest" = "iframe"] "" => 403, "another site";
    "a form of another site that is submitted as a page":
        "POST" "/v1/models/bed/retrain" ["sec-fetch-site" = "cross-site", "sec-fetch-mode" = "navigate", "sec-fetch-dest" = "document", "content-type" = "application/json"]
        r#"{"reason":"a page"}"# => 403, "another site";
    "a command as a form sends it":
        "POST" "/v1/models/bed/retrain" ["content-type" = "text/plain"] r#"{"reason":"a form"}"# => 415, "application/json";
    "a webhook as a form sends it":
        "POST" "/v1/alerts" ["content-type" = "text/plain"] r#"{"alerts":[]}"# => 415, "application/json";
    "a method that another header makes":
        "GET" "/v1/models/bed/promote" ["x-http-method-override" = "POST"] "" => 405, "does not answer GET";
    "a trace":
        "TRACE" "/v1/models" [] "" => 405, "does not answer TRACE";
    "a path that climbs":
        "GET" "/v1/models/../../../etc/passwd" [] "" => 404, "there is nothing at";
    "a path that climbs in disguise":
        "GET" "/v1/models/..%2f..%2f..%2fetc%2fpasswd" [] "" => 404, "nothing is known of a model";
    "a path with a byte of nothing":
        "GET" "/v1/models/bed%00" [] "" => 404, "nothing is known of a model";
    "a path that is no text":
        "GET" "/v1/models/%ff%fe" [] "" => 400, "UTF-8";
    "a command in disguise":
        "POST" "/v1/models/bed/%70romote" ["content-type" = "application/json"] "{}" => 404, "there is nothing at";
    "a length beyond the limit, and no body":
        "POST" "/v1/events" ["content-type" = "application/json", "content-length" = "1025"] "" => 413, "more than 1024 bytes";
    "an impossible length":
        "POST" "/v1/events" ["content-type" = "application/json", "content-length" = "99999999999999999999"] "" => 413, "more than 1024 bytes";
    "a negative length":
        "POST" "/v1/events" ["content-type" = "application/json", "content-length" = "-1"] "" => 413, "more than 1024 bytes";
    "a command with a member that is not known":
        "POST" "/v1/models/bed/retrain" ["content-type" = "application/json"] r#"{"reason":"ann","past_the_gate":true}"# => 400, "unknown field";
    "a command that says a thing twice":
        "POST" "/v1/models/bed/retrain" ["content-type" = "application/json"] r#"{"reason":"ann","reason":"bob"}"# => 400, "duplicate field";
    "a command without a reason":
        "POST" "/v1/models/bed/promote" ["content-type" = "application/json"] r#"{"version":"v2","expected_champion":"v1","reason":"\n \t"}"# => 400, "say who asks, and why";
    "a webhook that is none":
        "POST" "/v1/alerts" ["content-type" = "application/json"] r#"{"alerts":"all"}"# => 400, "no webhook";
    "a list without an end":
        "GET" "/v1/audit?limit=99999999999999999999" [] "" => 400, "limit";
    "a page behind what is not there":
        "GET" "/v1/audit?after=%27%20or%201=1" [] "" => 400, "begin anew";
};

impl Attack {
    fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from(self.body)).unwrap()
    }

    async fn check(&self, fixture: &Fixture) {
        let answer = Answered::of(fixture.send(self.request()).await).await;
        assert_eq!(answer.status, self.status, "{}: {:?}", self.name, answer.body);
        let detail = answer.problem(self.status);
        assert!(detail.contains(self.says), "{}: {detail}", self.name);
        assert_eq!(answer.header("x-frame-options"), "DENY", "{}", self.name);
        assert!(fixture.intake.taken.lock().unwrap().is_empty(), "{}: something was stored", self.name);
        assert!(fixture.orders.taken().is_empty(), "{}: a command was taken", self.name);
    }
}

#[tokio::test]
async fn each_attack_is_refused_with_a_reason_and_leaves_nothing() {
    let fixture = Fixture::new();
    for attack in OPEN {
        attack.check(&fixture).await;
    }
    assert_eq!(fixture.post("/v1/events", "row").await.status, 200);
    assert!(OPEN.len() + WITH_TOKENS.len() >= 40, "{} and {}", OPEN.len(), WITH_TOKENS.len());
    let names: BTreeSet<_> = OPEN.iter().chain(WITH_TOKENS).map(|attack| attack.name).collect();
    assert_eq!(names.len(), OPEN.len() + WITH_TOKENS.len(), "a name is used twice");
}

/// Against a service with tokens; `*ROLE` in a header stands for a token with that role.
const WITH_TOKENS: &[Attack] = attacks! {
    "nobody reads": "GET" "/v1/models" [] "" => 401, "no token was shown";
    "nobody reads metrics": "GET" "/metrics" [] "" => 401, "no token was shown";
    "nobody asks what is not there": "GET" "/v2" [] "" => 401, "no token was shown";
    "nobody sends events": "POST" "/v1/events" ["content-type" = "application/json"] "row" => 401, "no token was shown";
    "a token in the query": "GET" "/v1/models?token=*read" [] "" => 401, "no token was shown";
    "a token that is none": "GET" "/v1/models" ["authorization" = "Bearer driftline_0000"] "" => 401, "is not one of those";
    "a token with more behind it": "GET" "/v1/models" ["authorization" = "Bearer *read0"] "" => 401, "is not one of those";
    "an empty token": "GET" "/v1/models" ["authorization" = "Bearer "] "" => 401, "is not one of those";
    "a scheme that is not known": "GET" "/v1/models" ["authorization" = "Digest *read"] "" => 401, "no token was shown";
    "two tokens": "GET" "/v1/models" ["authorization" = "Bearer *read", "authorization" = "Bearer *promote"] "" => 401, "no token was shown";
    "a password that is no base64": "GET" "/v1/models" ["authorization" = "Basic *read"] "" => 401, "no token was shown";
    "a reader sends events":
        "POST" "/v1/events" ["authorization" = "Bearer *read", "content-type" = "application/json"] "row" => 403, "the role `write_events`";
    "a writer reads": "GET" "/v1/models" ["authorization" = "Bearer *write_events"] "" => 403, "the role `read`";
    "a writer asks for a training":
        "POST" "/v1/models/bed/retrain" ["authorization" = "Bearer *write_events", "content-type" = "application/json"] r#"{"reason":"x"}"# => 403, "the role `operate`";
    "a writer sends alerts":
        "POST" "/v1/alerts" ["authorization" = "Bearer *write_events", "content-type" = "application/json"] r#"{"alerts":[]}"# => 403, "the role `operate`";
    "an operator passes the gate":
        "POST" "/v1/models/bed/promote" ["authorization" = "Bearer *operate", "content-type" = "application/json"]
        r#"{"version":"v2","expected_champion":"v1","reason":"x"}"# => 403, "the role `promote`";
    "an operator rolls back":
        "POST" "/v1/models/bed/rollback" ["authorization" = "Bearer *operate", "content-type" = "application/json"]
        r#"{"expected_champion":"v1","reason":"x"}"# => 403, "the role `promote`";
    "a page of another site has the browser show its token":
        "POST" "/v1/models/bed/promote" ["origin" = "https://evil.example", "authorization" = "Bearer *promote", "content-type" = "application/json"]
        r#"{"version":"v2","expected_champion":"v1","reason":"x"}"# => 403, "evil.example";
};

/// A file of tokens, one of each role, and the tokens by role.
pub(super) fn tokens(name: &str) -> (Arc<Tokens>, impl Fn(&str) -> String) {
    let made = Role::ALL.map(|role| {
        let random = [role as u8 + 1; 32];
        (role.name(), NewToken::make(&format!("the-{}", role.name()), &[role], random).unwrap())
    });
    let file: PathBuf = std::env::temp_dir().join(format!("driftline-attacks-{}-{name}", std::process::id()));
    let lines: Vec<_> = made.iter().map(|(_, token)| token.line.as_str()).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let filled = move |text: &str| {
        made.iter().fold(text.to_owned(), |text, (role, token)| text.replace(&format!("*{role}"), &token.secret))
    };
    (Arc::new(Tokens::load(&file).unwrap()), filled)
}

fn filled(request: Request<Body>, fill: &impl Fn(&str) -> String) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    for value in parts.headers.values_mut() {
        *value = fill(value.to_str().unwrap()).parse().unwrap();
    }
    parts.uri = fill(&parts.uri.to_string()).parse().unwrap();
    Request::from_parts(parts, body)
}

fn shown(request: Request<Body>, token: &str) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    parts.headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    Request::from_parts(parts, body)
}

#[tokio::test]
async fn each_attack_on_tokens_is_refused_and_shows_none() {
    let (tokens, fill) = tokens("table");
    let fixture = Fixture::with(ApiOptions { tokens: Some(tokens), ..ApiOptions::default() });
    for attack in WITH_TOKENS {
        let answer = Answered::of(fixture.send(filled(attack.request(), &fill)).await).await;
        let detail = answer.problem(attack.status);
        assert!(detail.contains(attack.says), "{}: {detail}", attack.name);
        assert!(!detail.contains(fill("*read").as_str()) && !detail.contains(fill("*promote").as_str()), "{detail}");
        assert_eq!(
            answer.status == 401,
            answer.header("www-authenticate").starts_with("Bearer, Basic"),
            "{}",
            attack.name
        );
    }
    assert!(fixture.intake.taken.lock().unwrap().is_empty() && fixture.orders.taken().is_empty());
    let write = shown(post_request("/v1/events", "row"), &fill("*write_events"));
    assert_eq!(fixture.send(write).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_browser_shows_a_token_as_its_password() {
    let (tokens, fill) = tokens("basic");
    let fixture = Fixture::with(ApiOptions { tokens: Some(tokens), ..ApiOptions::default() });
    let pair = BASE64_STANDARD.encode(format!("ann:{}", fill("*read")));
    let request =
        Request::get("/v1/models").header("authorization", format!("Basic {pair}")).body(Body::empty()).unwrap();
    assert_eq!(fixture.send(request).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn guessing_tokens_is_slow_and_locks_nobody_out() {
    let (tokens, fill) = tokens("guess");
    let fixture = Fixture::with(ApiOptions { tokens: Some(tokens), ..ApiOptions::default() });
    let read = |token: &str| shown(Request::get("/v1/models").body(Body::empty()).unwrap(), token);
    let mut last = 0;
    for guess in 0..100 {
        last = fixture.send(read(&format!("driftline_{guess:064x}"))).await.status().as_u16();
    }
    assert_eq!(last, 429);
    assert_eq!(fixture.send(read(&fill("*read"))).await.status(), StatusCode::OK);
    let page = fixture.exporter.render().unwrap();
    assert!(page.contains(r#"driftline_http_refused_total{reason="token"} 100"#), "{page}");
}

#[tokio::test]
async fn an_order_names_who_gave_it_and_one_that_was_not_allowed_is_kept() {
    let (tokens, fill) = tokens("audit");
    let fixture = Fixture::with(ApiOptions { tokens: Some(tokens), ..ApiOptions::default() });
    let promote =
        || post_request("/v1/models/bed/promote", r#"{"version":"v2","expected_champion":"v1","reason":"new ward"}"#);
    assert_eq!(fixture.send(shown(promote(), &fill("*promote"))).await.status(), StatusCode::ACCEPTED);
    let taken = fixture.orders.taken().remove(0);
    assert_eq!((taken.asker.name.as_deref(), taken.reason.as_str()), (Some("the-promote"), "new ward"));
    assert_eq!(fixture.send(shown(promote(), &fill("*operate"))).await.status(), StatusCode::FORBIDDEN);
    let kept = loop {
        match fixture.orders.audited().pop() {
            Some(kept) => break kept,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!((kept.by.as_deref(), kept.what.as_str()), (Some("the-operate"), "POST /v1/models/bed/promote"));
    assert!(kept.refused.unwrap().contains("promote"));
}

#[tokio::test]
async fn one_tokens_flood_is_not_anothers() {
    let (tokens, fill) = tokens("rates");
    let one = NonZeroU32::MIN;
    let rate = Some(RateLimit { per_second: one, burst: one });
    let fixture = Fixture::with(ApiOptions { tokens: Some(tokens), rate, ..ApiOptions::default() });
    let orders = || shown(post_request("/v1/models/bed/retrain", r#"{"reason":"flood"}"#), &fill("*operate"));
    let mut answers = BTreeSet::new();
    for _ in 0..100 {
        answers.insert(fixture.send(orders()).await.status().as_u16());
    }
    assert_eq!(answers, BTreeSet::from([202, 429]));
    assert!(fixture.orders.taken().len() <= COMMANDS_AT_ONCE as usize + 2, "{}", fixture.orders.taken().len());
    let promote = r#"{"version":"v2","expected_champion":"v1","reason":"no flood"}"#;
    let promote = shown(post_request("/v1/models/bed/promote", promote), &fill("*promote"));
    assert_eq!(fixture.send(promote).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn whether_it_is_ready_is_told_to_everyone_and_why_not_to_readers() {
    let (tokens, fill) = tokens("ready");
    let fixture = Fixture::with(ApiOptions { tokens: Some(tokens), ..ApiOptions::default() });
    fixture.closing.cancel();
    assert_eq!(fixture.get("/healthz").await.status, 200);
    let answer = fixture.get("/readyz").await;
    assert_eq!((answer.status, answer.json()), (503, json!({"ready": false, "reasons": []})));
    let reader = shown(Request::get("/readyz").body(Body::empty()).unwrap(), &fill("*read"));
    let answer = Answered::of(fixture.send(reader).await).await;
    assert_eq!(answer.json()["reasons"][0]["reason"], json!("shutting down"));
}

#[tokio::test]
async fn bodies_that_never_come_keep_nobody_out() {
    let options =
        ApiOptions { most_in_flight: 1, request_timeout: Duration::from_millis(200), ..ApiOptions::default() };
    let fixture = Fixture::with(options);
    let never = || Body::new(NeverEnds);
    let slow: Vec<_> = ["/v1/events", "/v1/models/bed/retrain", "/v1/alerts"]
        .into_iter()
        .cycle()
        .take(64)
        .map(|path| tokio::spawn(fixture.router.clone().oneshot(post_request(path, never()))))
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(fixture.post("/v1/events", "row").await.status, 200, "64 slow bodies hold no place");
    for slow in slow {
        let answer = Answered::of(slow.await.unwrap().unwrap()).await;
        answer.problem(408);
        assert_eq!(answer.header("connection"), "close");
    }
}

/// A body of which nothing comes.
struct NeverEnds;

impl HttpBody for NeverEnds {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, std::convert::Infallible>>> {
        Poll::Pending
    }
}

fn webhook(alerts: Value) -> Request<Body> {
    post_request("/v1/alerts", json!({"version": "4", "status": "firing", "alerts": alerts}).to_string())
}

fn alert(fingerprint: &str) -> Value {
    json!({
        "status": "firing", "fingerprint": fingerprint, "startsAt": "2026-12-01T12:00:00.5+01:00", "endsAt": "0001-01-01T00:00:00Z",
        "labels": {"alertname": "QualityFell", "model": "bed"}, "annotations": {"summary": "accuracy\nfell\u{1b}[31m"}, "generatorURL": "",
    })
}

#[tokio::test]
async fn a_replayed_webhook_is_one_cause() {
    let fixture = Fixture::new();
    let first = Answered::of(fixture.send(webhook(json!([alert("a"), alert("b")]))).await).await.json();
    assert_eq!((first["taken"].as_array().unwrap().len(), &first["known"]), (2, &json!(0)));
    let again = Answered::of(fixture.send(webhook(json!([alert("b"), alert("a"), alert("b")]))).await).await.json();
    assert_eq!((&again["taken"], &again["known"]), (&json!([]), &json!(3)));
    let taken = fixture.orders.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].reason, "alert QualityFell fires since 2026-12-01T12:00:00.5+01:00: accuracyfell[31m");
}

#[tokio::test]
async fn alerts_that_are_no_causes_are_told_and_fail_nothing() {
    let fixture = Fixture::new();
    let (mut resolved, mut unnamed, mut unknown) = (alert("r"), alert("u"), alert("k"));
    resolved["status"] = json!("resolved");
    unnamed["labels"] = json!({"alertname": "DiskFull"});
    unknown["labels"]["model"] = json!("nobody");
    let answer =
        Answered::of(fixture.send(webhook(json!([resolved, unnamed, unknown, alert("a")]))).await).await.json();
    assert_eq!((&answer["resolved"], answer["taken"].as_array().unwrap().len()), (&json!(1), 1));
    let ignored = answer["ignored"].as_array().unwrap();
    assert!(ignored[0]["reason"].as_str().unwrap().contains("label `model`"), "{ignored:?}");
    assert!(ignored[1]["reason"].as_str().unwrap().contains("it is one of bed"), "{ignored:?}");
    let many: Vec<_> = (0..200).map(|number| alert(&number.to_string())).collect();
    assert_eq!(
        fixture.send(webhook(json!(many))).await.status(),
        StatusCode::TOO_MANY_REQUESTS,
        "no door past the rate"
    );
}

#[tokio::test]
async fn what_clients_invent_becomes_no_label_and_no_header() {
    let fixture = Fixture::new();
    let invented = Request::builder().method("EVIL").uri("/evil%22%7D%201%0Aup").body(Body::empty()).unwrap();
    assert_eq!(fixture.send(invented).await.status(), StatusCode::NOT_FOUND);
    let long = Request::get("/healthz").header("x-request-id", "x".repeat(65)).body(Body::empty()).unwrap();
    assert!(Answered::of(fixture.send(long).await).await.header("x-request-id").len() < 65);
    let page = fixture.exporter.render().unwrap();
    assert!(page.contains(r#"{code="404",method="other",route="unknown"} 1"#) && !page.contains("evil"), "{page}");
}
