//! The `map` section: how records of another shape are brought to Driftline's own.

use crate::ordered::Ordered;
use serde::Deserialize;

/// Where in a record each part of an event stands. A path names nested keys with dots; for files it is a column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// Path of the event's id.
    pub id: Option<String>,
    /// Path of the event's time, and its unit.
    pub time: Option<TimePath>,
    /// Path of the version that answered.
    pub version: Option<String>,
    /// Path of each feature that does not stand under its own name.
    pub features: Ordered<String>,
    /// Path of the prediction.
    pub prediction: Option<String>,
    /// Path of the score.
    pub score: Option<String>,
    /// Path of the label.
    pub label: Option<String>,
    /// Path of each segment that comes with the event.
    pub segments: Ordered<String>,
}

/// Path and unit of a time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimePath {
    /// Where it stands.
    pub path: String,
    /// What it is written in; recognised by its looks when not given.
    pub unit: Option<TimeUnit>,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Whole or fractional seconds since the epoch.
    S,
    /// Milliseconds since the epoch.
    Ms,
    /// Microseconds since the epoch.
    Us,
    /// Nanoseconds since the epoch.
    Ns,
    /// Text as in RFC 3339, with or without `T` and zone; UTC where there is none.
    Rfc3339,
}
