//! Alerts of a monitoring system as causes: the webhook that Alertmanager sends, and Grafana in the same shape.
//!
//! An alert that fires counts as a fall of quality of the model that its label `model` names: rest, budget and the hold of a
//! roll-back go before it. It is told again as long as it fires, and by several servers; its fingerprint and when it began
//! are its id, so it is one cause however often it comes. A resolved alert is no cause, and takes none back.
//!
//! A webhook that is answered with an error is sent again whole. So an alert that can never be a cause is listed in the
//! answer and is no error; what is refused for the moment is.

use crate::api::Api;
use crate::api::commands::{Asked, Order, order};
use crate::api::error::{Problem, ProblemKind};
use crate::api::guard::Caller;
use crate::api::receive::{Arrived, receive};
use axum::extract::{Request, State};
use axum::http::header;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// The most bytes of a webhook.
const MOST_BYTES: usize = 1 << 20;
/// Ids of alerts that are remembered until the log has been read that far.
const IDS_KEPT: usize = 4_096;
/// The most of an alert's own words that are kept.
const MOST_WORDS: usize = 500;

/// What a webhook holds, as far as it is looked at.
#[derive(Deserialize)]
struct Webhook {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: String,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: String,
    #[serde(default)]
    fingerprint: String,
}

/// What became of a webhook's alerts.
#[derive(Default, Serialize)]
pub(super) struct Answer {
    /// Ids of the causes that were made.
    taken: Vec<String>,
    /// Alerts that had been told before.
    known: u64,
    /// Alerts that do not fire any more.
    resolved: u64,
    /// Alerts that are no causes.
    ignored: Vec<Ignored>,
}

#[derive(Serialize)]
struct Ignored {
    /// The alert's place in the webhook, from 0.
    index: usize,
    /// Why it is no cause.
    reason: String,
}

/// Ids of alerts that have become causes lately.
#[derive(Default)]
pub(super) struct SeenAlerts(Mutex<VecDeque<String>>);

impl SeenAlerts {
    fn contains(&self, id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|seen| seen == id)
    }

    fn add(&self, id: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push_back(id.to_owned());
        while seen.len() > IDS_KEPT {
            seen.pop_front();
        }
    }
}

pub(super) async fn take(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Answer>, Problem> {
    api.refuse_if_closing()?;
    refuse_untyped(&request)?;
    let Arrived { body, room: _room } = receive(&api, request, MOST_BYTES).await?;
    let webhook: Webhook = serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("the body is no webhook of Alertmanager's or Grafana's ({error}): it has `alerts`, each with `status`, `labels` and `startsAt`");
        Problem::new(ProblemKind::BadRequest, detail)
    })?;
    let mut answer = Answer::default();
    for (index, alert) in webhook.alerts.into_iter().enumerate() {
        answer.add(&api, &caller, (index, alert)).await?;
    }
    Ok(Json(answer))
}

/// A page of another site cannot declare JSON unasked.
fn refuse_untyped(request: &Request) -> Result<(), Problem> {
    let declared =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = "a webhook comes as `content-type: application/json`";
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail))
}

impl Answer {
    async fn add(&mut self, api: &Api, caller: &Caller, (index, alert): (usize, Alert)) -> Result<(), Problem> {
        if alert.status != "firing" {
            self.resolved += 1;
            return Ok(());
        }
        let Some(model) = alert.labels.get("model").cloned() else {
            let reason = "it has no label `model`: keep the label in the rule's expression".to_owned();
            self.ignored.push(Ignored { index, reason });
            return Ok(());
        };
        let (id, reason) = (alert.id(), alert.reason());
        if api.alerts.contains(&id) || api.services.trail.read(|trail| trail.command(&id)).is_some() {
            self.known += 1;
            return Ok(());
        }
        let alert = Order::Alert { id: id.clone(), starts_at: alert.starts_at };
        match order(api, caller, Asked { model, order: alert, reason }).await {
            Ok(taken) => self.taken.push(taken),
            Err(problem) if problem.is_for_good() => {
                self.ignored.push(Ignored { index, reason: problem.detail().to_owned() })
            }
            Err(problem) => return Err(problem),
        }
        api.alerts.add(&id);
        Ok(())
    }
}

impl Alert {
    /// The same however often the alert is told while it fires.
    fn id(&self) -> String {
        let mut hasher = Sha256::new();
        let mut add = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        add(&self.starts_at);
        add(&self.fingerprint);
        // A sender without fingerprints has the labels, of which a fingerprint is made.
        for (label, value) in self.labels.iter().filter(|_| self.fingerprint.is_empty()) {
            add(label);
            add(value);
        }
        let digest: String = hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("alert-{digest}")
    }

    /// What the alert says, in its own words.
    fn reason(&self) -> String {
        let name = self.labels.get("alertname").map_or("an alert", String::as_str);
        let said = ["summary", "description", "message"].into_iter().find_map(|key| self.annotations.get(key));
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        let words = format!("alert {name} fires since {}{said}", self.starts_at);
        words.chars().filter(|sign| !sign.is_control()).take(MOST_WORDS).collect()
    }
}
