//! `driftline retrain` and `driftline models`: orders to a running Driftline, and what its registry says.

use super::WrongUsage;
use crate::cli::{Exit, ModelsAction, ModelsArgs, RemoteArgs, RetrainArgs};
use crate::commands::remote::{Credentials, Remote};
use crate::output::say;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PAST_THE_GATE: &str =
    "a version that won its trial is promoted by itself; to promote another past the gate give --override REASON";

pub(super) fn retrain(args: &RetrainArgs, json: bool) -> Result<Exit> {
    let remote = remote(&args.remote)?;
    let answer = remote.post(&format!("/v1/models/{}/retrain", args.model), &json!({"reason": args.reason}))?;
    told(&remote, &answer, json)?;
    Ok(Exit::Done)
}

fn remote(args: &RemoteArgs) -> Result<Remote> {
    Remote::new(&args.url, Credentials::of(args.token_file.as_deref())?)
}

pub(super) fn models(args: &ModelsArgs, json: bool) -> Result<Exit> {
    let remote = remote(&args.remote)?;
    match &args.action {
        ModelsAction::List => list(&remote.get("/v1/models")?, json)?,
        ModelsAction::Show { model } => {
            let shown = remote.get(&format!("/v1/models/{model}"))?;
            say(format_args!("{}", if json { shown.to_string() } else { serde_json::to_string_pretty(&shown)? }))?;
        }
        ModelsAction::Card { model, version, html } => {
            let card = remote.text(&format!("/models/{model}/versions/{version}/card.html"))?;
            std::fs::write(html, card).with_context(|| format!("writing {}", html.display()))?;
            written(html, json)?;
        }
        ModelsAction::Promote { model, version, expect, overriding } => {
            let reason = overriding.as_deref().ok_or_else(|| WrongUsage(PAST_THE_GATE.to_owned()))?;
            let expected = champion(&remote, model, expect.as_deref())?;
            let body = json!({"version": version, "expected_champion": expected, "reason": reason});
            told(&remote, &remote.post(&format!("/v1/models/{model}/promote"), &body)?, json)?;
        }
        ModelsAction::Rollback { model, expect, reason } => {
            let expected = champion(&remote, model, expect.as_deref())?;
            let body = json!({"expected_champion": expected, "reason": reason});
            told(&remote, &remote.post(&format!("/v1/models/{model}/rollback"), &body)?, json)?;
        }
        ModelsAction::Release { model, expect, reason } => {
            let expected = champion(&remote, model, expect.as_deref())?;
            let body = json!({"expected_champion": expected, "reason": reason});
            told(&remote, &remote.post(&format!("/v1/models/{model}/release"), &body)?, json)?;
        }
    }
    Ok(Exit::Done)
}

/// The champion that an order expects: the one named, or the one there is now.
fn champion(remote: &Remote, model: &str, named: Option<&str>) -> Result<Value> {
    match named {
        Some(named) => Ok(named.into()),
        None => Ok(remote.get(&format!("/v1/models/{model}"))?.get("champion").cloned().unwrap_or_default()),
    }
}

fn written(file: &Path, json: bool) -> Result<()> {
    if json {
        return say(format_args!("{}", json!({"written": file})));
    }
    say(format_args!("wrote {}", file.display()))
}

fn list(models: &Value, json: bool) -> Result<()> {
    if json {
        return say(format_args!("{models}"));
    }
    for model in models.as_array().into_iter().flatten() {
        let text = |field: &str| model.get(field).and_then(Value::as_str).unwrap_or("-").to_owned();
        say(format_args!(
            "{:24} champion {:12} challenger {:12} {}",
            text("model"),
            text("champion"),
            text("challenger"),
            text("retrain")
        ))?;
    }
    Ok(())
}

/// How long the outcome of an order is waited for, and how often it is asked for.
const PATIENCE: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Tells what became of an order, once something has.
///
/// # Errors
/// When it was refused.
fn told(remote: &Remote, answer: &Value, json: bool) -> Result<()> {
    let id = answer.get("id").and_then(Value::as_str).unwrap_or_default();
    let outcome = outcome(remote, id);
    let text = |field: &str| outcome.get(field).and_then(Value::as_str).unwrap_or_default();
    if text("state") == "refused" {
        bail!("{id} was taken and then refused: {}", text("outcome"));
    }
    if json {
        return say(format_args!("{outcome}"));
    }
    match text("state") {
        "carried_out" => say(format_args!("done as {id}: {}", text("outcome"))),
        _ => say(format_args!(
            "taken as {id}, and not acted upon within {PATIENCE:?}; `driftline models show` tells what becomes of it"
        )),
    }
}

/// What the service knows of an order once that is all, or patience has ended.
fn outcome(remote: &Remote, id: &str) -> Value {
    let started = Instant::now();
    loop {
        // An order that the service has not read yet is not found.
        let known = remote.get(&format!("/v1/commands/{id}")).unwrap_or_else(|_| json!({"id": id, "state": "pending"}));
        let is_pending = known.get("state").is_none_or(|state| state == "pending");
        if !is_pending || started.elapsed() >= PATIENCE {
            return known;
        }
        sleep(ASK_EVERY);
    }
}
