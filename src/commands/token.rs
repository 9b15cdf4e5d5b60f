//! `driftline token`: makes a token, and the line that the service knows it by.

use super::WrongUsage;
use crate::cli::{Exit, TokenArgs};
use crate::output::{note, say};
use anyhow::Result;
use dashboards::api::NewToken;
use serde_json::json;

/// Says the line on standard output, where it can be appended to the file, and the token beside it.
pub(super) fn token(args: &TokenArgs, json: bool) -> Result<Exit> {
    let NewToken { secret, line } = NewToken::make(&args.name, &args.roles, rand::random()).map_err(WrongUsage)?;
    if json {
        say(format_args!("{}", json!({"name": args.name, "token": secret, "line": line})))?;
        return Ok(Exit::Done);
    }
    say(format_args!("{line}"))?;
    note(format_args!("the token of {}, which is shown this once: {secret}", args.name));
    note(format_args!(
        "append the line on standard output to the file under `api.tokens`; it is read again within seconds"
    ));
    Ok(Exit::Done)
}
