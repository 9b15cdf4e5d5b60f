//! The metric registry, built from the catalogue, and the text that Prometheus reads.
//!
//! A value that is not a finite number is unknown, and what is unknown has no series. A family that is full says so in
//! `driftline_series_capped_total`, whose own labels are the catalogue's names and therefore few; how full each is, in
//! `driftline_series` beside `driftline_series_limit`.

use crate::catalogue::{BUILD_INFO, CATALOGUE, Metric, SERIES, SERIES_CAPPED, SERIES_LIMIT};
use crate::family::{Family, Room};
use crate::process;
use prometheus::{Registry, TextEncoder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// The content type of [`Exporter::render`].
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why the metrics cannot be built or written.
#[derive(Debug, Error)]
pub enum ExporterError {
    /// The catalogue holds something that Prometheus does not allow.
    #[error("metric {metric} cannot be registered: {source}; correct its entry in the catalogue")]
    Register {
        /// The metric's name.
        metric: &'static str,
        /// What the library said.
        #[source]
        source: prometheus::Error,
    },
    /// The registry could not be written as text.
    #[error("the metrics cannot be written as text: {source}")]
    Render {
        /// What the library said.
        #[source]
        source: prometheus::Error,
    },
}

/// What the exporter is told when it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExporterOptions {
    /// The most series that a metric which names no model may have, besides the one for the rest.
    pub most_series_per_metric: usize,
    /// The most series that one model may have in a metric, besides the one for the rest.
    pub most_series_per_model: usize,
    /// The release that runs.
    pub version: String,
    /// The source revision that runs; `None` for a build outside a checkout.
    pub revision: Option<String>,
}

/// How many series a metric may have, and of whom.
struct Limit {
    most: usize,
    of: &'static str,
}

impl ExporterOptions {
    /// A metric that is about metrics has one series for each of the catalogue, whatever the options say.
    fn limit_of(&self, metric: &Metric) -> Limit {
        match metric.labels {
            ["metric", ..] => Limit { most: CATALOGUE.len(), of: "process" },
            _ if metric.is_of_models() => Limit { most: self.most_series_per_model.max(1), of: "model" },
            _ => Limit { most: self.most_series_per_metric.max(1), of: "process" },
        }
    }
}

/// Every metric of the catalogue, ready to be set and read.
pub struct Exporter {
    registry: Registry,
    families: BTreeMap<&'static str, Mutex<Family>>,
    /// Metrics of which has been logged that they are full.
    told: Mutex<BTreeSet<&'static str>>,
}

impl Exporter {
    /// A registry with every family of the catalogue and no series but the build's.
    ///
    /// # Errors
    /// When the catalogue holds something that Prometheus does not allow.
    pub fn new(options: &ExporterOptions) -> Result<Self, ExporterError> {
        let registry = Registry::new();
        let mut families = BTreeMap::new();
        for metric in CATALOGUE {
            let family = Family::register(metric, options.limit_of(metric).most, &registry)
                .map_err(|source| ExporterError::Register { metric: metric.name, source })?;
            families.insert(metric.name, Mutex::new(family));
        }
        let exporter = Self { registry, families, told: Mutex::default() };
        exporter.set(&BUILD_INFO, &[&options.version, options.revision.as_deref().unwrap_or_default()], 1.0);
        for metric in CATALOGUE {
            let Limit { most, of } = options.limit_of(metric);
            exporter.set(&SERIES_LIMIT, &[metric.name, of], most as f64);
            exporter.add(&SERIES_CAPPED, &[metric.name], 0);
        }
        Ok(exporter)
    }

    /// Every series in Prometheus' text format, to be sent as [`TEXT_FORMAT`].
    ///
    /// # Errors
    /// When the library cannot write a family.
    pub fn render(&self) -> Result<String, ExporterError> {
        process::show(self);
        self.count_series();
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(|source| ExporterError::Render { source })
    }

    /// Sets a gauge; a value that is not finite ends its series, because it is unknown.
    pub fn set(&self, metric: &Metric, labels: &[&str], value: f64) {
        if value.is_finite() {
            self.update(metric, |family| family.set(labels, value));
        } else {
            self.remove(metric, labels);
        }
    }

    /// Adds to a counter.
    pub fn add(&self, metric: &Metric, labels: &[&str], count: u64) {
        self.update(metric, |family| family.add(labels, count));
    }

    /// Brings a counter to a total that someone else keeps.
    pub(crate) fn raise(&self, metric: &Metric, labels: &[&str], total: f64) {
        self.update(metric, |family| family.raise(labels, total));
    }

    /// Adds an observation to a histogram; one that is not finite is unknown and left out.
    pub fn observe(&self, metric: &Metric, labels: &[&str], value: f64) {
        if value.is_finite() {
            self.update(metric, |family| family.observe(labels, value));
        }
    }

    /// Ends a series.
    pub fn remove(&self, metric: &Metric, labels: &[&str]) {
        if let Some(mut family) = self.family(metric) {
            family.remove(labels);
        }
    }

    /// Ends every series of a metric whose label values, in the catalogue's order, are accepted by `stale`.
    pub fn remove_where(&self, metric: &Metric, stale: impl Fn(&[String]) -> bool) {
        if let Some(mut family) = self.family(metric) {
            family.remove_where(stale);
        }
    }

    fn update(&self, metric: &Metric, change: impl FnOnce(&mut Family) -> prometheus::Result<Room>) {
        let Some(mut family) = self.family(metric) else { return };
        let outcome = change(&mut family);
        // Given back before the cap's own family is taken: no two are ever held at once.
        drop(family);
        match outcome {
            Ok(Room::Found) => {}
            Ok(Room::Full) => self.tell_capped(metric),
            Err(error) => tracing::error!(metric = metric.name, %error, "labels do not fit the catalogue"),
        }
    }

    fn tell_capped(&self, metric: &Metric) {
        if metric.name == SERIES_CAPPED.name {
            return;
        }
        self.add(&SERIES_CAPPED, &[metric.name], 1);
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(metric.name) {
            tracing::warn!(
                metric = metric.name,
                "metric is at its most series: new ones are left out, and driftline_series_capped_total counts them"
            );
        }
    }

    fn count_series(&self) {
        for metric in CATALOGUE {
            let count = self.family(metric).map_or(0, |family| family.len());
            self.set(&SERIES, &[metric.name], count as f64);
        }
    }

    /// A family that panicked half-way through an update holds at worst one wrong figure, so it is used on.
    fn family(&self, metric: &Metric) -> Option<MutexGuard<'_, Family>> {
        let family = self.families.get(metric.name);
        debug_assert!(family.is_some(), "{} is missing from CATALOGUE", metric.name);
        Some(family?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{DEAD_LETTERS, DRIFT_SCORE, HTTP_DURATION, Kind, STAGE_UP, TRAININGS, WINDOW_ROWS};

    fn exporter(most: usize) -> Exporter {
        let options = ExporterOptions {
            most_series_per_metric: most,
            most_series_per_model: most,
            version: "0.1.0".to_owned(),
            revision: None,
        };
        Exporter::new(&options).unwrap()
    }

    #[test]
    fn the_page_holds_the_catalogue_and_nothing_else() {
        let exporter = exporter(10);
        for metric in CATALOGUE {
            let labels: Vec<_> = metric.labels.iter().map(|_| "x").collect();
            match metric.kind {
                Kind::Counter => exporter.add(metric, &labels, 1),
                Kind::Gauge => exporter.set(metric, &labels, 1.0),
                Kind::Histogram(_) => exporter.observe(metric, &labels, 1.0),
            }
        }
        let page = exporter.render().unwrap();
        let mut shown: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
        let mut listed: Vec<_> = CATALOGUE.iter().map(|metric| format!("{} {}", metric.name, metric.help)).collect();
        shown.sort_unstable();
        listed.sort_unstable();
        assert_eq!(shown, listed);
    }

    #[test]
    fn a_full_gauge_family_drops_new_series_and_says_so() {
        let exporter = exporter(2);
        for stage in ["a", "b", "c", "c", "a"] {
            exporter.set(&STAGE_UP, &[stage], 7.0);
        }
        let page = exporter.render().unwrap();
        assert!(page.contains(r#"driftline_stage_up{stage="b"} 7"#), "{page}");
        assert!(!page.contains(r#"stage="c""#), "{page}");
        assert!(page.contains(r#"driftline_series_capped_total{metric="driftline_stage_up"} 2"#), "{page}");
        assert!(page.contains(r#"driftline_series{metric="driftline_stage_up"} 2"#), "{page}");
        assert!(page.contains(r#"driftline_series_limit{metric="driftline_stage_up",of="process"} 2"#), "{page}");
    }

    #[test]
    fn a_full_counter_family_keeps_its_sum() {
        let exporter = exporter(1);
        exporter.add(&DEAD_LETTERS, &["inferences", "empty"], 3);
        exporter.add(&DEAD_LETTERS, &["inferences", "truncated"], 4);
        exporter.add(&DEAD_LETTERS, &["labels", "empty"], 5);
        let page = exporter.render().unwrap();
        assert!(page.contains(r#"driftline_dead_letters_total{reason="empty",topic="inferences"} 3"#), "{page}");
        assert!(page.contains(r#"driftline_dead_letters_total{reason="other",topic="other"} 9"#), "{page}");
    }

    #[test]
    fn one_model_cannot_take_the_room_of_another() {
        let exporter = exporter(2);
        for version in 0..50 {
            exporter.set(&WINDOW_ROWS, &["greedy", &format!("v{version}"), "all", "drift"], 1.0);
            exporter.add(&TRAININGS, &["greedy", &format!("{version}")], 1);
        }
        exporter.set(&WINDOW_ROWS, &["modest", "v1", "all", "drift"], 1.0);
        let page = exporter.render().unwrap();
        assert_eq!(page.matches(r#"driftline_window_rows{model="greedy""#).count(), 2, "{page}");
        assert!(page.contains(r#"driftline_window_rows{model="modest""#), "{page}");
        assert!(page.contains(r#"driftline_trainings_total{model="greedy",outcome="other"} 48"#), "{page}");
    }

    #[test]
    fn an_ended_series_makes_room_for_another() {
        let exporter = exporter(1);
        exporter.set(&STAGE_UP, &["a"], 1.0);
        exporter.remove(&STAGE_UP, &["a"]);
        exporter.set(&STAGE_UP, &["b"], 2.0);
        let page = exporter.render().unwrap();
        assert!(page.contains(r#"driftline_stage_up{stage="b"} 2"#), "{page}");
        assert!(page.contains(r#"driftline_series_capped_total{metric="driftline_stage_up"} 0"#), "{page}");
    }

    #[test]
    fn this_process_is_on_the_page() {
        let page = exporter(1).render().unwrap();
        for metric in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
            let line = page.lines().find(|line| line.split(' ').next() == Some(metric)).unwrap();
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() >= 0.0, "{line}");
        }
    }

    #[test]
    fn what_is_unknown_has_no_series() {
        let exporter = exporter(10);
        let labels = ["m", "v1", "all", "drift", "feature", "age", "psi"];
        exporter.set(&DRIFT_SCORE, &labels, 0.3);
        exporter.set(&DRIFT_SCORE, &labels, f64::NAN);
        exporter.observe(&HTTP_DURATION, &["/"], f64::INFINITY);
        let page = exporter.render().unwrap();
        assert!(!page.contains("driftline_drift_score{") && !page.contains("duration_seconds_"), "{page}");
    }

    #[test]
    fn label_values_that_run_into_each_other_are_told_apart() {
        let exporter = exporter(10);
        exporter.set(&BUILD_INFO, &["a:1", "b"], 1.0);
        exporter.set(&BUILD_INFO, &["a", "1:b"], 2.0);
        let page = exporter.render().unwrap();
        assert!(page.contains(r#"revision="b",version="a:1"} 1"#), "{page}");
        assert!(page.contains(r#"revision="1:b",version="a"} 2"#), "{page}");
    }
}
