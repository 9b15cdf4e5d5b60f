//! The promises of the pages: they say what the board knows, the same as the API, escape what they show, load nothing, and stay
//! small.

mod scene;

use super::*;
use crate::api::{ApiOptions, CommandError, EventIntake, IntakeError, Receipt, Submission};
use crate::fixtures::exporter;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::HeaderValue;
use axum::http::Request;
use detectors::panel::{Judgement, Outcome};
use detectors::verdict::Finality;
use scene::{HOSTILE, WINDOWS, drift, quality};
use serde_json::Value;
use std::sync::Mutex;
use tower::ServiceExt;

/// Takes nothing.
struct NoIntake;

impl EventIntake for NoIntake {
    fn take(&self, _submission: Submission) -> Result<Receipt, IntakeError> {
        Ok(Receipt::default())
    }
}

/// Knows `admission`, whose champion is `v1`, and keeps what it is told.
#[derive(Default)]
struct Orders(Mutex<Vec<crate::api::Command>>);

impl Commands for Orders {
    fn submit(&self, command: crate::api::Command) -> Result<String, CommandError> {
        match &command.order {
            crate::api::Order::Promote { expected_champion, .. } if expected_champion.as_deref() != Some("v1") => {
                Err(CommandError::Refused { reason: "the champion is v1".to_owned() })
            }
            _ => {
                self.0.lock().unwrap().push(command);
                Ok("c-1".to_owned())
            }
        }
    }

    fn audit(&self, _entry: crate::audit::AuditEntry) {}
}

struct Scene {
    router: Router,
    orders: Arc<Orders>,
}

struct Answered {
    status: u16,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Scene {
    fn new() -> Self {
        let (read_model, orders) = (SharedReadModel::default(), Arc::new(Orders::default()));
        *read_model.write() = scene::read_model();
        let services = Services {
            intake: Arc::new(NoIntake),
            commands: orders.clone(),
            read_model,
            trail: crate::audit::SharedTrail::default(),
            exporter: exporter(),
            readiness: Arc::new(Vec::new),
            closing: CancellationToken::new(),
        };
        Self { router: crate::api::router(services, ApiOptions::default()), orders }
    }

    async fn send(&self, mut request: Request<Body>) -> Answered {
        request.headers_mut().entry("host").or_insert_with(|| HeaderValue::from_static("localhost"));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body(), 4 << 20).await.unwrap();
        Answered { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Answered {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// A page that has to be there. With `DRIFTLINE_PAGES` it is kept in that folder, to be looked at.
    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        if let Ok(folder) = std::env::var("DRIFTLINE_PAGES") {
            let name: String =
                path.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
            let inline = format!("<style>{STYLE}</style>");
            let text = answer.text.replace("<link rel=\"stylesheet\" href=\"/console.css\">", &inline);
            std::fs::write(std::path::Path::new(&folder).join(format!("{name}.html")), text).unwrap();
        }
        answer.text
    }

    async fn order(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        let mut request = Request::post(path)
            .header("host", "127.0.0.1:9464")
            .header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await.text).unwrap()
    }
}

fn drift_path() -> String {
    document::verdict_path(&drift(WINDOWS, None).id)
}

fn every_path() -> Vec<String> {
    let hostile = document::model_path(HOSTILE);
    vec![
        "/".to_owned(),
        "/models/admission".to_owned(),
        "/models/quiet".to_owned(),
        "/models/fare".to_owned(),
        "/models/triage".to_owned(),
        hostile,
        "/models/admission/versions/v1".to_owned(),
        "/models/admission/versions/v1/card.html".to_owned(),
        document::version_path(HOSTILE, HOSTILE),
        drift_path(),
        format!("{}/report.html", drift_path()),
        document::verdict_path(&quality(WINDOWS - 4, Finality::Final).id),
        document::verdict_path(&format!("{HOSTILE} false")),
        document::verdict_path(&format!("{HOSTILE} true")),
    ]
}

#[tokio::test]
async fn the_fleet_begins_with_what_harms_and_ends_with_what_is_quiet() {
    let page = Scene::new().page("/").await;
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    let rows =
        ["href=\"/models/admission\"", "href=\"/models/triage\"", "href=\"/models/fare\"", "href=\"/models/quiet\""];
    let places = rows.map(place);
    assert!(places.is_sorted(), "{places:?}");
    for said in ["quality fell", "blind", "no window yet", "quiet", "accuracy is 0.7", "reference 0.84", "on trial: v2"]
    {
        assert!(page.contains(said), "{said} in {page}");
    }
}

#[tokio::test]
async fn a_verdict_says_since_when_what_moved_against_what_and_whether_it_matters() {
    let scene = Scene::new();
    let page = scene.page(&drift_path()).await;
    for said in [
        "since <time datetime=\"2026-01-06T07:00:00Z\">",
        "35 % of rows moved",
        "towards higher values",
        "mostly in region=north",
        "82 % of all that is unusual",
        "learned from how the reference",
        "Look here first: the data may be at fault",
        "What follows",
        "labels are not mature",
        "No retraining was asked for",
        "region=south",
        "6 tests of this window",
        "77.5 to 82",
        "above the reference",
        "3f9a1c2b77d0",
        "driftline reference --model admission --from 2026-01-06T15:00:00Z",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    let columns = page.find("What moved").zip(page.find("id=\"faults\"")).unwrap();
    assert!(columns.1 < columns.0, "faults come first");
    let caused = scene.page(&document::verdict_path(&quality(33, Finality::Final).id)).await;
    assert!(caused.contains("Retraining was asked for at") && caused.contains("a challenger is on trial"), "{caused}");
}

#[tokio::test]
async fn a_model_shows_its_windows_episodes_versions_and_what_can_be_ordered() {
    let page = Scene::new().page("/models/admission").await;
    for said in [
        "v1</a> since",
        "Monitors",
        "region=north",
        "recovered",
        "on trial",
        "evidence 12 of 10 needed",
        "the champion&#39;s 0.2",
        "became champion",
        "action=\"/models/admission/promote\"",
        "value=\"v1\"",
        "120 of 500 labelled rows",
    ] {
        assert!(page.contains(said) || page.contains(&said.replace("&#39;", "'")), "{said} in {page}");
    }
    assert!(!page.contains("/release"), "nothing is held");
}

#[tokio::test]
async fn an_address_can_choose_the_slice_and_the_version() {
    let scene = Scene::new();
    let of = |path: &'static str| scene.page(path);
    let north = document::verdict_path(&drift(WINDOWS, Some(scene::north())).id);
    let all = document::verdict_path(&drift(WINDOWS, None).id);
    // The strip alone: the table of monitors links to every slice.
    let windows = |page: &str| page.split("id=\"windows\"").nth(1).unwrap().to_owned();
    let page = windows(&of("/models/admission?version=v1&segment=region%3Dnorth").await);
    assert!(page.contains(&north) && !page.contains(&all), "{page}");
    let page = windows(&of("/models/admission").await);
    assert!(page.contains(&all) && !page.contains(&north), "{page}");
    let page = windows(&of("/models/admission?version=v7").await);
    assert!(!page.contains(&all), "{page}");
}

#[tokio::test]
async fn a_version_shows_its_lineage_and_its_trial() {
    let page = Scene::new().page("/models/admission/versions/v1").await;
    for said in
        ["champion", "because it won its trial: better", "2\u{202f}000 rows", "Mean loss 0.1 against", "on 400 rows"]
    {
        assert!(page.contains(said), "{said} in {page}");
    }
}

#[tokio::test]
async fn pages_and_api_tell_the_same_numbers() {
    let scene = Scene::new();
    let page = scene.page(&drift_path()).await;
    let verdict = scene.json(&format!("/v1{}", drift_path())).await;
    assert!(page.contains(&words::prose(verdict["summary"].as_str().unwrap()).into_string()));
    assert!(page.contains(&words::count(verdict["rows"].as_i64().unwrap())));
    for test in verdict["tests"].as_array().unwrap() {
        let row = format!(
            "<td class=\"number\">{}</td><td class=\"number\">{}</td>",
            number(&test["score"]),
            number(&test["threshold"])
        );
        assert!(page.contains(&row), "{row} in {page}");
    }
    let counted = &verdict["attribution"][0]["distribution"]["rows"];
    for rows in counted.as_array().unwrap() {
        assert!(
            page.contains(&format!("<td class=\"number\">{}</td>", words::count(rows.as_i64().unwrap()))),
            "{rows}"
        );
    }
    let model = scene.json("/v1/models/admission").await;
    assert!(scene.page("/models/admission").await.contains(model["champion"].as_str().unwrap()));
}

fn number(value: &Value) -> String {
    words::number(value.as_f64().unwrap())
}

#[tokio::test]
async fn names_are_text_wherever_they_stand() {
    let scene = Scene::new();
    for path in every_path() {
        let page = scene.page(&path).await;
        assert!(!page.contains("<script"), "{path}: {page}");
        assert!(!page.contains("alert('x')\""), "{path}");
        // Every quote in an attribute would begin another attribute.
        assert!(!page.contains("script>\"&amp;"), "{path}");
    }
    let page = scene.page(&document::verdict_path(&format!("{HOSTILE} false"))).await;
    assert!(page.contains("&lt;script&gt;"), "{page}");
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere_and_stay_small() {
    let scene = Scene::new();
    for path in every_path() {
        let answer = scene.get(&path).await;
        let page = &answer.text;
        for elsewhere in ["http://", "https://", "//", "@import", "url("] {
            let found = page.match_indices(elsewhere).find(|(at, _)| !page[..*at].ends_with("http:"));
            assert!(found.is_none(), "{path}: {:?}", found.map(|(at, _)| &page[at.saturating_sub(60)..at + 40]));
        }
        assert!(page.len() < 200_000, "{path}: {} bytes", page.len());
        assert!(!page.contains(" style=") && !page.contains(" onclick"), "{path}: the policy forbids it");
        let is_file = path.ends_with(".html");
        assert_eq!(page.contains("<style>"), is_file, "{path}");
        let (links, inner) = (page.matches("<a ").count(), page.matches("<a href=\"#").count());
        assert!(!is_file || links == inner, "{path}: a file links nowhere but into itself");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_by_a_page() {
    let scene = Scene::new();
    for path in ["/models/nobody", "/models/admission/versions/v99", "/verdicts/zzz", "/verdicts/zzz/report.html"] {
        let answer = scene.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text.contains("There is no such thing") && answer.text.contains("</html>"), "{path}");
    }
}

#[tokio::test]
async fn orders_of_a_form_are_the_commands_of_the_api() {
    let scene = Scene::new();
    let here = [("origin", "http://127.0.0.1:9464")];
    let answer =
        scene.order("/models/admission/promote", &here, "reason=ann%3A+new+ward&version=v2&expected_champion=v1").await;
    assert_eq!((answer.status, answer.headers["location"].to_str().unwrap()), (303, "/models/admission?taken=c-1"));
    let expected = crate::api::Order::Promote { version: "v2".to_owned(), expected_champion: Some("v1".to_owned()) };
    let taken = scene.orders.0.lock().unwrap().pop().unwrap();
    assert_eq!((taken.order, taken.reason.as_str()), (expected, "ann: new ward"));
    assert!(scene.page("/models/admission?taken=c-1").await.contains("Taken as c-1"));
    for (path, body, status, says) in [
        ("/models/admission/promote", "reason=ann&version=v2&expected_champion=v0", 409, "the champion is v1"),
        ("/models/admission/retrain", "reason=+", 400, "say who asks, and why"),
        ("/models/admission/retrain", "reason=ann&force=1", 400, "unknown field"),
        ("/models/admission/dance", "reason=ann", 404, "none of retrain"),
    ] {
        let answer = scene.order(path, &here, body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
        assert!(answer.text.contains(says), "{path} {body}: {}", answer.text);
    }
}

#[tokio::test]
async fn an_order_from_another_site_is_refused() {
    let scene = Scene::new();
    let elsewhere: [&[(&str, &str)]; 6] = [
        &[],
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:9464"), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "http://127.0.0.1:1"), ("sec-fetch-site", "same-origin")],
    ];
    for headers in elsewhere {
        let answer = scene.order("/models/admission/retrain", headers, "reason=ann").await;
        assert_eq!(answer.status, 403, "{headers:?}");
    }
    assert!(scene.orders.0.lock().unwrap().is_empty());
}

#[test]
fn the_report_of_a_comparison_is_one_file_of_any_number_of_columns() {
    let mut verdict = drift(WINDOWS, None);
    let (parts, tests) = (verdict.attribution.clone(), verdict.tests.clone());
    verdict.attribution = (0..100)
        .map(|place| detectors::verdict::Attribution { column: format!("c{place}"), ..parts[place % 2].clone() })
        .collect();
    verdict.tests = (0..200)
        .map(|place| detectors::verdict::TestResult { subject: format!("c{}", place / 2), ..tests[2].clone() })
        .collect();
    let judgement = Judgement {
        outcome: Outcome::Exceeded,
        tests: verdict.tests,
        attribution: verdict.attribution,
        summary: verdict.summary,
    };
    let side = |name: &str| ComparedSide { name: name.to_owned(), rows: 12_345 };
    let text = comparison_report(&ComparisonReport {
        reference: side(HOSTILE),
        current: side("current.csv"),
        drift: &judgement,
        data_quality: &judgement,
        columns: 100,
        notes: vec![HOSTILE.to_owned()],
    });
    assert!(text.len() < 200_000, "{} bytes", text.len());
    assert!(text.contains("12\u{202f}345 rows") && text.contains("88 further columns"), "{text}");
    assert!(!text.contains("<script") && !text.contains("http:") && !text.contains("https:"), "{text}");
}
