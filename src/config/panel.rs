//! How a model's windows are judged, as it is configured.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Settings of a model's panel of tests.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PanelSettings {
    /// Windows with fewer rows are inconclusive.
    pub min_rows: u64,
    /// Where the thresholds come from.
    pub thresholds: Thresholds,
    /// How many windows it takes to raise or lower an alarm.
    pub hysteresis: Hysteresis,
}

impl Default for PanelSettings {
    fn default() -> Self {
        Self { min_rows: 100, thresholds: Thresholds::Learned, hysteresis: Hysteresis::default() }
    }
}

/// Where thresholds come from.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Thresholds {
    /// From how windows of the reference vary among themselves.
    #[default]
    Learned,
    /// One number for each test.
    Fixed(BTreeMap<String, f64>),
}

/// An alarm changes when `windows` of the last `of` windows that do not overlap agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hysteresis {
    /// How many must agree.
    pub windows: u32,
    /// Of how many.
    pub of: u32,
}

impl Default for Hysteresis {
    fn default() -> Self {
        Self { windows: 2, of: 3 }
    }
}
