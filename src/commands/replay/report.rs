//! The last lines of a replay: what the windows amount to, and what became of every row.

use crate::output::say;
use crate::replay::balance::Balance;
use crate::replay::event_feed::Sums;
use anyhow::Result;
use serde_json::json;

pub(super) fn report(balance: &Balance, sums: &Sums, json: bool) -> Result<()> {
    if json {
        let mut report = serde_json::to_value(sums)?;
        if let Some(fields) = report.as_object_mut() {
            fields.insert("rows".to_owned(), balance.read.into());
            fields.insert("balance".to_owned(), json!(balance));
        }
        return say(format_args!("{report}"));
    }
    say(format_args!(
        "{}; {} changes, {} retrain requests, {} promotions, {} rejections",
        windows(sums),
        sums.changes,
        sums.retrain_requests,
        sums.promotions,
        sums.rejections
    ))?;
    if let Some(accuracy) = sums.accuracy {
        say(format_args!("accuracy {accuracy:.4} over {} labelled rows", sums.labelled))?;
    }
    if let Some(mae) = sums.mae {
        say(format_args!("mean absolute error {mae:.6} over {} labelled rows", sums.labelled))?;
    }
    say(format_args!("{balance}"))
}

/// How many windows there are, and what they were judged to be: those that could not be judged are neither with nor without
/// drift.
fn windows(sums: &Sums) -> String {
    let Sums { windows, drift_windows, unjudged_windows, .. } = sums;
    let why = sums.unjudged_because.as_deref().unwrap_or_default();
    match unjudged_windows {
        0 => format!("{windows} windows, {drift_windows} with drift"),
        all if all == windows => format!("{windows} windows, none judged ({why})"),
        some => format!("{windows} windows, {drift_windows} with drift, {some} not judged (the first: {why})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_could_not_be_judged_are_not_told_of_as_without_drift() {
        let because = || Some("24 rows, 100 are needed".to_owned());
        let sums =
            |unjudged_windows| Sums { windows: 20, unjudged_windows, unjudged_because: because(), ..Sums::default() };
        assert_eq!(windows(&sums(20)), "20 windows, none judged (24 rows, 100 are needed)");
        assert_eq!(windows(&sums(5)), "20 windows, 0 with drift, 5 not judged (the first: 24 rows, 100 are needed)");
        assert_eq!(windows(&Sums { windows: 20, drift_windows: 3, ..Sums::default() }), "20 windows, 3 with drift");
    }
}
