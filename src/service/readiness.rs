//! Whether the service is ready, and in words why it is not.

use super::running;
use capture::watermark_alignment::{Behind, WatermarkAlignment};
use dashboards::api::{NotReady, Readiness};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streams::runner::{StageState, StageWorkers};

/// What keeps the service from being ready: stages that are replaying, have failed or have ended, and partitions for which
/// windows stay open.
pub(super) fn readiness(
    workers: &Arc<Mutex<Vec<StageWorkers>>>,
    watermark_alignment: Option<Arc<WatermarkAlignment>>,
) -> Readiness {
    let workers = Arc::clone(workers);
    Arc::new(move || {
        let statuses = running(&workers).into_iter().map(|handle| handle.status());
        let standing = statuses.filter(|status| !matches!(status.state, StageState::Running));
        let stages = standing.map(|status| NotReady { part: status.name, reason: in_words(&status.state) });
        let behind = watermark_alignment.iter().flat_map(|watermark_alignment| watermark_alignment.behind());
        stages.chain(behind.filter(Behind::holds_windows).map(windows_wait)).collect()
    })
}

/// What a stage does, for people.
fn in_words(state: &StageState) -> String {
    match state {
        StageState::Starting => "it starts".to_owned(),
        StageState::Replaying => "it reads again what it had read before its last commit".to_owned(),
        StageState::Running => "it runs".to_owned(),
        StageState::Failed { error, since } => {
            let since = humantime::format_rfc3339_seconds(*since);
            format!("it failed at {since}, and is started again unless that cannot help: {error}")
        }
        StageState::Stopped => "it has ended".to_owned(),
    }
}

/// That windows wait for a partition.
fn windows_wait(behind: Behind) -> NotReady {
    let Behind { topic, partition, by, .. } = behind;
    let by = humantime::format_duration(Duration::from_secs(by.as_secs()));
    let reason = format!("windows stay open for it: it is {by} behind another partition in event time");
    NotReady { part: format!("{topic}/{partition}"), reason }
}
