//! The promises of the API: each status, what is said with it, and that good rows arrive.

use super::*;
use crate::audit::AuditEntry;
use crate::dashboard::Dashboard;
use crate::fixtures::{event, exporter, first_promoted, judged, registered, request, verdict};
use crate::read_model::BoardLimits;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::mpsc;
use tower::ServiceExt;

/// Rows are lines; one that starts with `bad` is refused; a body that starts with `busy` and the like fails as a whole.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) taken: Mutex<Vec<Submission>>,
    /// Makes the log wait, once.
    gate: Mutex<Option<Gate>>,
}

struct Gate {
    entered: mpsc::Sender<()>,
    open: mpsc::Receiver<()>,
}

impl EventIntake for Lines {
    fn take(&self, submission: Submission) -> Result<Receipt, IntakeError> {
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.entered.send(()).unwrap();
            // Open too when the test has ended.
            let _ = gate.open.recv();
        }
        let body = String::from_utf8_lossy(&submission.body).into_owned();
        match body.as_str() {
            "torn" => return Err(IntakeError::Unreadable { reason: "it ends at byte 4".to_owned() }),
            "busy" => return Err(IntakeError::Busy { retry_after: Duration::from_millis(1_500) }),
            "disk" => return Err(IntakeError::Storage { source: "disk full".into() }),
            "[]" => return Ok(Receipt::default()),
            "panic" => panic!("a fault of the intake"),
            _ => {}
        }
        let mut receipt = Receipt::default();
        for (index, row) in (0..).zip(body.lines()) {
            if row.starts_with("bad") {
                let (reason, message) = ("missing_id".to_owned(), "the row has no `id`".to_owned());
                receipt.rejected.push(Rejected { index, rows: 1, reason, message });
            } else {
                receipt.accepted += 1;
            }
        }
        self.taken.lock().unwrap().push(submission);
        Ok(receipt)
    }
}

/// Knows `bed`, whose champion is `v1`.
#[derive(Default)]
pub(super) struct Orders {
    taken: Mutex<Vec<Command>>,
    audited: Mutex<Vec<AuditEntry>>,
}

impl Commands for Orders {
    fn submit(&self, command: Command) -> Result<String, CommandError> {
        if command.model != "bed" {
            return Err(CommandError::UnknownModel { model: command.model, known: "bed".to_owned() });
        }
        match &command.order {
            Order::Promote { expected_champion, .. } if expected_champion.as_deref() != Some("v1") => {
                return Err(CommandError::Refused { reason: "the champion is v1".to_owned() });
            }
            _ => {}
        }
        let id = match &command.order {
            Order::Alert { id, .. } => id.clone(),
            _ => "c-1".to_owned(),
        };
        self.taken.lock().unwrap().push(command);
        Ok(id)
    }

    fn audit(&self, entry: AuditEntry) {
        self.audited.lock().unwrap().push(entry);
    }
}

impl Orders {
    pub(super) fn taken(&self) -> Vec<Command> {
        self.taken.lock().unwrap().clone()
    }

    pub(super) fn audited(&self) -> Vec<AuditEntry> {
        self.audited.lock().unwrap().clone()
    }
}

pub(super) struct Fixture {
    pub(super) router: Router,
    pub(super) services: Services,
    pub(super) intake: Arc<Lines>,
    pub(super) orders: Arc<Orders>,
    pub(super) exporter: Arc<Exporter>,
    pub(super) closing: CancellationToken,
    reasons: Arc<Mutex<Vec<NotReady>>>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(ApiOptions { most_body_bytes: 1_024, ..ApiOptions::default() })
    }

    pub(super) fn with(options: ApiOptions) -> Self {
        let (intake, orders) = (Arc::new(Lines::default()), Arc::new(Orders::default()));
        let (exporter, read_model) = (exporter(), SharedReadModel::new(BoardLimits::default()));
        let mut dashboard = Dashboard::new(read_model.clone(), exporter.clone());
        dashboard.model_event(&event(0, registered("v1")));
        dashboard.model_event(&event(0, first_promoted("v1")));
        dashboard.monitor_event(&judged(verdict("a", 1)), 7_200_000);
        dashboard.monitor_event(&judged(verdict("b", 2)), 7_200_000);
        dashboard.retrain_request(&request("r", 1));
        let reasons: Arc<Mutex<Vec<NotReady>>> = Arc::default();
        let (asked, closing) = (reasons.clone(), CancellationToken::new());
        let services = Services {
            intake: intake.clone(),
            commands: orders.clone(),
            read_model,
            trail: SharedTrail::default(),
            exporter: exporter.clone(),
            readiness: Arc::new(move || asked.lock().unwrap().clone()),
            closing: closing.clone(),
        };
        let router = router(services.clone(), options);
        Self { router, services, intake, orders, exporter, closing, reasons }
    }

    /// Makes the next submission wait in the log. Says when it is there; goes on at the word of the sender.
    fn hold_the_log(&self) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((entered, is_entered), (open, opened)) = (mpsc::channel(), mpsc::channel());
        *self.intake.gate.lock().unwrap() = Some(Gate { entered, open: opened });
        (is_entered, open)
    }

    /// Sends a request to this machine, unless it says itself to which.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Response {
        request.headers_mut().entry("host").or_insert(HeaderValue::from_static("localhost"));
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Answered {
        Answered::of(self.send(Request::get(path).body(Body::empty()).unwrap()).await).await
    }

    pub(super) async fn post(&self, path: &str, body: impl Into<Body>) -> Answered {
        Answered::of(self.send(post_request(path, body)).await).await
    }
}

pub(super) fn post_request(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header("host", "localhost").header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) body: Bytes,
}

impl Answered {
    pub(super) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Self { status, headers, body }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Asserts that this is a problem of that status, and returns its detail.
    pub(super) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{:?}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert_eq!(body["status"], json!(status));
        assert!(body["type"].as_str().unwrap().starts_with("urn:driftline:problem:"), "{body}");
        assert!(!body["title"].as_str().unwrap().is_empty(), "{body}");
        body["detail"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn good_rows_arrive_and_bad_ones_are_listed() {
    let fixture = Fixture::new();
    let answer = fixture.post("/v1/events", "one\nbad\nthree").await;
    assert_eq!(answer.status, 200);
    let refused = json!({"index": 1, "reason": "missing_id", "message": "the row has no `id`"});
    assert_eq!(answer.json(), json!({"accepted": 2, "rejected_count": 1, "rejected": [refused]}));
    let page = fixture.exporter.render().unwrap();
    assert!(page.contains(r#"driftline_intake_accepted_total{kind="events"} 2"#), "{page}");
    assert!(page.contains(r#"driftline_intake_rejected_total{kind="events",reason="missing_id"} 1"#), "{page}");
}

#[tokio::test]
async fn a_batch_without_one_good_row_is_an_error_that_quotes_the_first() {
    let answer = Fixture::new().post("/v1/labels", "bad\nbad").await;
    assert_eq!(answer.problem(400), "none of the 2 rows is good; row 0: the row has no `id`");
    assert_eq!(answer.json()["rejected"].as_array().unwrap().len(), 2);
    assert_eq!(answer.json()["accepted"], json!(0));
}

#[tokio::test]
async fn path_and_content_type_say_what_a_body_is() {
    let fixture = Fixture::new();
    let cases = [
        ("/v1/events", "application/json", Kind::Events, Format::Json),
        ("/v1/labels", "application/x-ndjson; charset=utf-8", Kind::Labels, Format::JsonLines),
        ("/v1/labels", "application/jsonl", Kind::Labels, Format::JsonLines),
        ("/v1/feedback", "application/msgpack", Kind::Feedback, Format::MessagePack),
        ("/v1/events", "Application/Vnd.MsgPack", Kind::Events, Format::MessagePack),
        ("/v1/events", "application/x-msgpack", Kind::Events, Format::MessagePack),
        ("/v1/events", "application/vnd.apache.arrow.stream", Kind::Events, Format::Arrow),
    ];
    for (path, content_type, kind, format) in cases {
        let request = Request::post(path).header("content-type", content_type).body(Body::from("x")).unwrap();
        assert_eq!(fixture.send(request).await.status(), StatusCode::OK, "{path} {content_type}");
        let expected = Submission { kind, format, body: Bytes::from("x") };
        assert_eq!(fixture.intake.taken.lock().unwrap().pop(), Some(expected));
    }
}

#[tokio::test]
async fn an_unknown_content_type_is_told_the_known_ones() {
    let fixture = Fixture::new();
    for content_type in [Some("text/csv"), None] {
        let mut request = Request::post("/v1/events").body(Body::from("x")).unwrap();
        if let Some(content_type) = content_type {
            request.headers_mut().insert("content-type", content_type.parse().unwrap());
        }
        let detail = Answered::of(fixture.send(request).await).await.problem(415);
        assert!(detail.contains("application/x-ndjson") && detail.contains("application/vnd.msgpack"), "{detail}");
    }
}

#[tokio::test]
async fn what_cannot_be_taken_says_why_and_when_to_come_again() {
    let fixture = Fixture::new();
    let cases = [
        ("", 400, "", "the body is empty"),
        ("[]", 400, "", "the body holds no rows"),
        ("torn", 400, "", "it ends at byte 4"),
        ("busy", 429, "2", "send the same body again"),
        ("disk", 503, "5", "disk full"),
        ("panic", 500, "", "not known"),
    ];
    for (body, status, retry_after, says) in cases {
        let answer = fixture.post("/v1/events", body).await;
        let detail = answer.problem(status);
        assert!(detail.contains(says), "{body}: {detail}");
        assert_eq!(answer.header("retry-after"), retry_after, "{body}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large() {
    let fixture = Fixture::new();
    assert_eq!(fixture.post("/v1/events", "x".repeat(1_024)).await.status, 200);
    let detail = fixture.post("/v1/events", "x".repeat(1_025)).await.problem(413);
    assert!(detail.contains("1024 bytes"), "{detail}");
    assert_eq!(fixture.intake.taken.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_refusal_that_leaves_the_body_unread_says_that_the_connection_ends() {
    let fixture = Fixture::new();
    let untyped = Request::post("/v1/events").body(Body::from("x")).unwrap();
    let refused = Answered::of(fixture.send(untyped).await).await;
    assert_eq!((refused.status, refused.header("connection")), (415, "close"));
    assert_eq!(fixture.post("/v1/events", "x".repeat(1_025)).await.header("connection"), "close");
    let read = fixture.post("/v1/events", "[]").await;
    assert_eq!((read.status, read.header("connection")), (400, ""));
}

/// `{"id":"a"}`, compressed.
const ZIPPED_ROW: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\x4c\x51\xb2\x52\x4a\x54\xaa\x05\x00\x43\xe6\xa4\x9a\x0a\x00\x00\x00";
/// 8,192 blanks, compressed.
const ZIPPED_BLANKS: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x01\x0d\x00\x00\x00\xc2\xa0\x2a\xef\x9f\xd2\x1c\x6e\x40\x01\x00\x00\x00\x00\x00\x00\x00\xef\x06\x8d\xc4\xbe\xe7\x00\x20\x00\x00";

fn zipped(body: &'static [u8], encoding: &str) -> Request<Body> {
    let mut request = post_request("/v1/events", body);
    request.headers_mut().insert("content-encoding", encoding.parse().unwrap());
    request
}

#[tokio::test]
async fn gzip_is_undone_and_the_limit_counts_what_comes_out() {
    let fixture = Fixture::new();
    assert_eq!(fixture.send(zipped(ZIPPED_ROW, "gzip")).await.status(), StatusCode::OK);
    assert_eq!(fixture.intake.taken.lock().unwrap()[0].body, Bytes::from(r#"{"id":"a"}"#));
    assert!(ZIPPED_BLANKS.len() < 100, "8,192 blanks, well below the limit while compressed");
    Answered::of(fixture.send(zipped(ZIPPED_BLANKS, "gzip")).await).await.problem(413);
    Answered::of(fixture.send(zipped(b"no gzip at all", "gzip")).await).await.problem(400);
    let detail = Answered::of(fixture.send(zipped(ZIPPED_ROW, "br")).await).await.problem(415);
    assert!(detail.contains("send gzip"), "{detail}");
}

#[tokio::test]
async fn a_gzipped_body_is_read_to_the_end_of_its_last_member() {
    let fixture = Fixture::new();
    let two: &'static [u8] = Box::leak([ZIPPED_ROW, ZIPPED_ROW].concat().into_boxed_slice());
    assert_eq!(fixture.send(zipped(two, "gzip")).await.status(), StatusCode::OK);
    assert_eq!(fixture.intake.taken.lock().unwrap()[0].body, Bytes::from(r#"{"id":"a"}{"id":"a"}"#));
    let cut: &'static [u8] = Box::leak([ZIPPED_ROW, &ZIPPED_ROW[..20]].concat().into_boxed_slice());
    let trailed: &'static [u8] = Box::leak([ZIPPED_ROW, b"and more"].concat().into_boxed_slice());
    for broken in [cut, trailed] {
        Answered::of(fixture.send(zipped(broken, "gzip")).await).await.problem(400);
    }
}

#[tokio::test]
async fn a_configured_rate_is_kept() {
    let one = NonZeroU32::MIN;
    let fixture =
        Fixture::with(ApiOptions { rate: Some(RateLimit { per_second: one, burst: one }), ..ApiOptions::default() });
    assert_eq!(fixture.post("/v1/events", "x").await.status, 200);
    let answer = fixture.post("/v1/events", "x").await;
    answer.problem(429);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(fixture.get("/v1/models").await.status, 200, "reading is not limited");
}

#[tokio::test]
async fn a_slow_log_turns_new_submissions_away() {
    let fixture = Fixture::with(ApiOptions { most_in_flight: 1, ..ApiOptions::default() });
    let (entered, open) = fixture.hold_the_log();
    let first = tokio::spawn(fixture.router.clone().oneshot(post_request("/v1/events", "x")));
    tokio::task::spawn_blocking(move || entered.recv().unwrap()).await.unwrap();
    let answer = fixture.post("/v1/events", "x").await;
    assert!(answer.problem(429).contains("1 requests are already"), "{:?}", answer.body);
    open.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(fixture.post("/v1/events", "x").await.status, 200, "the place was given back");
}

#[tokio::test]
async fn a_log_that_does_not_answer_ends_the_wait_and_says_that_the_outcome_is_not_known() {
    let options = ApiOptions { request_timeout: Duration::from_millis(20), ..ApiOptions::default() };
    let fixture = Fixture::with(options);
    let (_entered, open) = fixture.hold_the_log();
    let detail = fixture.post("/v1/events", "x").await.problem(503);
    assert!(detail.contains("whether the body is stored is not known"), "{detail}");
    drop(open);
}

#[tokio::test]
async fn a_closing_service_takes_nothing_more_and_is_not_ready() {
    let fixture = Fixture::new();
    fixture.closing.cancel();
    fixture.post("/v1/events", "x").await.problem(503);
    fixture.post("/v1/models/bed/retrain", r#"{"reason": "ann"}"#).await.problem(503);
    assert_eq!(fixture.get("/readyz").await.status, 503);
    assert_eq!(fixture.get("/healthz").await.status, 200);
    assert!(fixture.intake.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn readiness_gives_its_reasons() {
    let fixture = Fixture::new();
    assert_eq!(fixture.get("/readyz").await.json(), json!({"ready": true, "reasons": []}));
    let replaying = NotReady { part: "monitor".to_owned(), reason: "replaying partials".to_owned() };
    fixture.reasons.lock().unwrap().push(replaying);
    let answer = fixture.get("/readyz").await;
    assert_eq!(answer.status, 503);
    let reasons = json!([{"part": "monitor", "reason": "replaying partials"}]);
    assert_eq!(answer.json(), json!({"ready": false, "reasons": reasons}));
}

#[tokio::test]
async fn models_windows_verdicts_and_requests_are_shown() {
    let fixture = Fixture::new();
    assert_eq!(fixture.get("/v1/models").await.json()[0]["champion"], json!("v1"));
    let model = fixture.get("/v1/models/bed").await.json();
    assert_eq!((&model["retrain"], &model["history"][0]["kind"]), (&json!("requested"), &json!("promoted")));
    assert_eq!(fixture.get("/v1/models/bed/versions").await.json()[0]["role"], json!("champion"));
    let windows = fixture.get("/v1/models/bed/windows?limit=1&segment=all&monitor=drift").await.json();
    assert_eq!((windows.as_array().unwrap().len(), &windows[0]["verdict"]), (1, &json!("b")));
    assert_eq!(fixture.get("/v1/models/bed/requests").await.json()[0]["request"]["id"], json!("r"));
    assert_eq!(fixture.get("/v1/verdicts?model=bed&limit=1").await.json()[0]["id"], json!("b"));
    assert_eq!(fixture.get("/v1/verdicts/a").await.json()["tests"][0]["test"], json!("psi"));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let fixture = Fixture::new();
    for path in ["/v1/models/nobody", "/v1/models/nobody/windows", "/v1/verdicts/zzz", "/v2/models", "/favicon.ico"] {
        fixture.get(path).await.problem(404);
    }
    let answer = fixture.get("/v1/events").await;
    answer.problem(405);
    assert_eq!(answer.header("allow"), "POST");
    let page = fixture.exporter.render().unwrap();
    assert!(page.contains(r#"{code="404",method="GET",route="unknown"} 2"#), "{page}");
    assert!(page.contains(r#"{code="405",method="GET",route="/v1/events"} 1"#), "{page}");
    assert!(!page.contains("favicon"), "a path of a client became a label");
}

#[tokio::test]
async fn a_query_that_cannot_be_meant_is_refused() {
    let fixture = Fixture::new();
    for query in ["limit=0", "limit=1001", "limit=many", "limt=5"] {
        fixture.get(&format!("/v1/models/bed/windows?{query}")).await.problem(400);
    }
}

#[tokio::test]
async fn commands_are_taken_with_an_id() {
    let fixture = Fixture::new();
    let promote = Order::Promote { version: "v2".to_owned(), expected_champion: Some("v1".to_owned()) };
    let roll_back = Order::RollBack { version: None, expected_champion: "v1".to_owned() };
    let release = Order::Release { expected_champion: "v1".to_owned() };
    let cases = [
        ("retrain", json!({"reason": "ann: new ward"}), Order::Retrain),
        ("promote", json!({"version": "v2", "expected_champion": "v1", "reason": "ann: new ward"}), promote),
        ("rollback", json!({"expected_champion": "v1", "reason": "ann: new ward"}), roll_back),
        ("release", json!({"expected_champion": "v1", "reason": "ann: new ward"}), release),
    ];
    for (path, body, order) in cases {
        let answer = fixture.post(&format!("/v1/models/bed/{path}"), body.to_string()).await;
        assert_eq!((answer.status, answer.json()), (202, json!({"id": "c-1"})));
        assert_eq!(answer.header("location"), "/v1/commands/c-1");
        let reason = "ann: new ward".to_owned();
        let expected = Command { model: "bed".to_owned(), order, reason, asker: Asker::default() };
        assert_eq!(fixture.orders.taken.lock().unwrap().pop(), Some(expected));
    }
}

#[tokio::test]
async fn commands_that_do_not_fit_are_refused() {
    let fixture = Fixture::new();
    let cases = [
        ("/v1/models/nobody/retrain", r#"{"reason": "ann"}"#, 404, "it is one of bed"),
        ("/v1/models/bed/retrain", r#"{"reason": " "}"#, 400, "say who asks, and why"),
        ("/v1/models/bed/retrain", "{}", 400, "missing field `reason`"),
        ("/v1/models/bed/retrain", r#"{"reason": "a", "force": true}"#, 400, "unknown field `force`"),
        ("/v1/models/bed/promote", r#"{"version": "v2", "reason": "a"}"#, 400, "missing field `expected_champion`"),
        (
            "/v1/models/bed/promote",
            r#"{"version": "v2", "expected_champion": null, "reason": "a"}"#,
            409,
            "the champion is v1",
        ),
    ];
    for (path, body, status, says) in cases {
        let detail = fixture.post(path, body).await.problem(status);
        assert!(detail.contains(says), "{path} {body}: {detail}");
    }
    let undeclared = Request::post("/v1/models/bed/retrain").body(Body::from(r#"{"reason": "ann"}"#)).unwrap();
    Answered::of(fixture.send(undeclared).await).await.problem(415);
    assert!(fixture.orders.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() {
    let fixture = Fixture::new();
    let named = Request::get("/healthz").header("x-request-id", "abc").body(Body::empty()).unwrap();
    assert_eq!(Answered::of(fixture.send(named).await).await.header("x-request-id"), "abc");
    let (first, second) = (fixture.get("/healthz").await, fixture.get("/").await);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[tokio::test]
async fn the_metrics_page_is_prometheus_text() {
    let fixture = Fixture::new();
    let answer = fixture.get("/metrics").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, crate::exporter::TEXT_FORMAT));
    assert!(answer.body.starts_with(b"# HELP driftline_"));
}

#[tokio::test]
async fn a_closing_server_stops() {
    let fixture = Fixture::new();
    let services = fixture.services.clone();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let server = tokio::spawn(serve(listener, services, ApiOptions::default()));
    fixture.closing.cancel();
    server.await.unwrap().unwrap();
}
