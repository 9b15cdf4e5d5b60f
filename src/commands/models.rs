//! `driftline retrain` and `driftline models`: orders to a running Driftline, and what its registry says.

use super::WrongUsage;
use crate::cli::{Exit, ModelsAction, ModelsArgs, RetrainArgs};
use crate::commands::remote::Remote;
use crate::output::say;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

const PAST_THE_GATE: &str =
    "a version that won its trial is promoted by itself; to promote another past the gate give --override REASON";

pub(super) fn retrain(args: &RetrainArgs, json: bool) -> Result<Exit> {
    let answer = Remote::new(&args.remote.url)
        .post(&format!("/v1/models/{}/retrain", args.model), &json!({"reason": args.reason}))?;
    taken(&answer, json)?;
    Ok(Exit::Done)
}

pub(super) fn models(args: &ModelsArgs, json: bool) -> Result<Exit> {
    let remote = Remote::new(&args.remote.url);
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
            taken(&remote.post(&format!("/v1/models/{model}/promote"), &body)?, json)?;
        }
        ModelsAction::Rollback { model, expect, reason } => {
            let expected = champion(&remote, model, expect.as_deref())?;
            let body = json!({"expected_champion": expected, "reason": reason});
            taken(&remote.post(&format!("/v1/models/{model}/rollback"), &body)?, json)?;
        }
        ModelsAction::Release { model, expect, reason } => {
            let expected = champion(&remote, model, expect.as_deref())?;
            let body = json!({"expected_champion": expected, "reason": reason});
            taken(&remote.post(&format!("/v1/models/{model}/release"), &body)?, json)?;
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

fn taken(answer: &Value, json: bool) -> Result<()> {
    if json {
        return say(format_args!("{answer}"));
    }
    let id = answer.get("id").and_then(Value::as_str).unwrap_or("without an id");
    say(format_args!("taken as {id}; `driftline models show` tells what became of it"))
}
