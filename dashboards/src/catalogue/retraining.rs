//! What becomes of alarms: requests, episodes, trainings, promotions, and which version has which role.

use super::{Metric, Unit, counter, gauge};

/// Retrain requests.
pub const RETRAIN_REQUESTS: Metric =
    counter("driftline_retrain_requests_total", &["model", "cause"], "Retrain requests, by what caused them.");
/// Where a model's retraining stands.
pub const RETRAIN_STATE: Metric = gauge(
    "driftline_retrain_state",
    &["model", "state"],
    "1 for the state that the model's retraining is in, 0 for the others: idle, requested, waiting, training, trial.",
);
/// Causes that led to no request.
pub const RETRAIN_REFUSALS: Metric =
    counter("driftline_retrain_refusals_total", &["model", "why"], "Causes that led to no retrain request, by why.");
/// Episodes by outcome.
pub const EPISODES: Metric = counter(
    "driftline_episodes_total",
    &["model", "outcome"],
    "Episodes that have ended, by outcome: recovered, no_better_model, given_up, abandoned.",
);
/// Rows since the change.
pub const EPISODE_ROWS: Metric = gauge(
    "driftline_episode_labelled_rows",
    &["model"],
    "Labelled rows since the change that the episode under way goes by.",
);
/// Rows that the next training needs.
pub const EPISODE_NEEDED_ROWS: Metric = gauge(
    "driftline_episode_needed_rows",
    &["model"],
    "Labelled rows since the change that the next training of the episode under way needs.",
);
/// The champion's loss within the episode.
pub const EPISODE_LOSS: Metric = gauge(
    "driftline_episode_loss",
    &["model"],
    "Mean loss of the champion on its rows in the episode under way: the share of wrong classes, or of the largest error.",
);
/// The loss that is aimed at.
pub const EPISODE_TARGET_LOSS: Metric =
    gauge("driftline_episode_target_loss", &["model"], "Mean loss that the episode under way aims at.");
/// Trainings by outcome.
pub const TRAININGS: Metric =
    counter("driftline_trainings_total", &["model", "outcome"], "Trainings by outcome: attempted, trained, failed.");
/// Challengers that lost.
pub const REJECTIONS: Metric =
    counter("driftline_rejections_total", &["model"], "Challengers that lost their trial or passed its deadline.");
/// Promotions by right.
pub const PROMOTIONS: Metric = counter(
    "driftline_promotions_total",
    &["model", "by"],
    "Promotions by their right: first_version, trial, override.",
);
/// Roll-backs.
pub const ROLLBACKS: Metric =
    counter("driftline_rollbacks_total", &["model"], "Times the champion went back to an earlier version.");
/// Publications of champions.
pub const PUBLICATIONS: Metric = counter(
    "driftline_publications_total",
    &["model", "outcome"],
    "Times the champion was put into the repository of a model server, or could not be: published, failed.",
);
/// Which version has which role.
pub const MODEL_INFO: Metric =
    gauge("driftline_model_info", &["model", "version", "role"], "1 for the version that is champion or challenger.")
        .of(Unit::Info);
/// Since when a version is the champion.
pub const CHAMPION_SINCE: Metric = gauge(
    "driftline_champion_since_timestamp_seconds",
    &["model", "version"],
    "When the version that answers was promoted, or came back.",
)
.of(Unit::Seconds);
/// When the reference of a version was learned.
pub const REFERENCE_LEARNED: Metric = gauge(
    "driftline_reference_learned_timestamp_seconds",
    &["model", "version"],
    "When the reference of the champion or a challenger was learned.",
)
.of(Unit::Seconds);
/// When a training ended last.
pub const LAST_TRAINING: Metric = gauge(
    "driftline_last_training_timestamp_seconds",
    &["model"],
    "When a training of the model last brought a version.",
)
.of(Unit::Seconds);
/// Since when an episode is under way.
pub const EPISODE_OPENED: Metric = gauge(
    "driftline_episode_opened_timestamp_seconds",
    &["model"],
    "When the episode under way began; absent while there is none.",
)
.of(Unit::Seconds);
