//! How large the metrics page is for one model and for a thousand, and how long it takes.

use super::*;
use crate::exporter::ExporterOptions;
use crate::fixtures::{facts, test, verdict};
use crate::read_model::BoardLimits;
use detectors::verdict::{Attribution, Segment, Severity};
use std::time::Instant;

/// Columns of each model.
const COLUMNS: usize = 100;
/// Segments of each model, beside all of its traffic.
const SEGMENTS: usize = 3;

/// Whether anything is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fleet {
    /// Every window is stable.
    Calm,
    /// One column of each model drifts, in every segment.
    Drifting,
}

struct Page {
    series: usize,
    bytes: usize,
    took: std::time::Duration,
}

/// The page of so many models, after a window of each slice and monitor.
fn page(models: usize, fleet: Fleet, watch: Watch) -> Page {
    let options = ExporterOptions {
        most_series_per_metric: 5_000,
        most_series_per_model: 1_000,
        version: "0.1.0".to_owned(),
        revision: None,
    };
    let exporter = Arc::new(Exporter::new(&options).unwrap());
    let names: Vec<_> = (0..models).map(|at| format!("model-{at:04}")).collect();
    let all = names.iter().map(|name| watch.facts(name)).collect();
    let read_model = SharedReadModel::new(BoardLimits { verdicts: 1, ..BoardLimits::default() });
    let mut dashboard = Dashboard::new(read_model, Arc::clone(&exporter)).watching(all, TESTS_OF_MODEL);
    for name in &names {
        let of_watch = |verdict: &&Verdict| watch != Watch::Inputs || verdict.monitor != Monitor::Quality;
        windows(name, fleet).iter().filter(of_watch).for_each(|verdict| dashboard.show_verdict(verdict, 7_200_000));
    }
    let started = Instant::now();
    let text = exporter.render().unwrap();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    Page { series, bytes: text.len(), took: started.elapsed() }
}

/// What is watched of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// It has no labels.
    Inputs,
    /// It has labels.
    Quality,
    /// It has labels, and is retrained.
    AndRetrain,
}

impl Watch {
    const ALL: [Self; 3] = [Self::Inputs, Self::Quality, Self::AndRetrain];

    fn facts(self, name: &str) -> ModelFacts {
        let facts = facts(name);
        let labels_mature = facts.labels_mature.filter(|_| self != Self::Inputs);
        ModelFacts { labels_mature, retrains: self == Self::AndRetrain, ..facts }
    }

    /// The most bytes of a model's part of the page when all is calm. Of one that is retrained every outcome has a counter.
    fn most_bytes(self) -> usize {
        match self {
            Self::Inputs => 5_000,
            Self::Quality => 6_500,
            Self::AndRetrain => 9_500,
        }
    }
}

/// A window of all traffic and of each segment, by three monitors.
fn windows(model: &str, fleet: Fleet) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let segments = (0..SEGMENTS).map(|at| Some(Segment { dimension: "ward".to_owned(), value: format!("{at}") }));
    for segment in [None].into_iter().chain(segments) {
        for monitor in [Monitor::Drift, Monitor::DataQuality, Monitor::Quality] {
            let is_drifting = fleet == Fleet::Drifting && monitor == Monitor::Drift;
            let score = |at: usize| if is_drifting && at == 0 { 0.5 } else { 0.1 };
            let tests = (0..COLUMNS).map(|at| test(&format!("column_{at:03}"), score(at))).collect();
            let part = Attribution {
                distribution: None,
                column: "column_000".to_owned(),
                contribution: 1.0,
                moved_share: 0.4,
                towards: None,
                segment: None,
            };
            let accuracy = detectors::verdict::Estimate { value: 0.8, standard_error: Some(0.01) };
            let is_quality = monitor == Monitor::Quality;
            verdicts.push(Verdict {
                model: model.to_owned(),
                segment: segment.clone(),
                severity: if is_drifting { Severity::Drift } else { Severity::Stable },
                attribution: if is_drifting { vec![part] } else { Vec::new() },
                metrics: is_quality.then(|| ("accuracy".to_owned(), accuracy)).into_iter().collect(),
                labelled: is_quality.then_some(400),
                tests: if is_quality { vec![test("accuracy", 0.1)] } else { tests },
                monitor,
                ..verdict("a", 1)
            });
        }
    }
    verdicts
}

#[test]
fn the_page_of_a_thousand_models_is_below_five_megabytes() {
    for models in [1, 200, 1_000] {
        for (fleet, watch) in
            [Fleet::Calm, Fleet::Drifting].map(|fleet| Watch::ALL.map(|watch| (fleet, watch))).concat()
        {
            let Page { series, bytes, took } = page(models, fleet, watch);
            println!("{models} models, {fleet:?}, {watch:?}: {series} series, {bytes} bytes, {took:?}");
            // What the service says of itself, and of each model that drifts its tests.
            let drifting = if fleet == Fleet::Drifting { 6_000 } else { 0 };
            assert!(bytes < 60_000 + models * (watch.most_bytes() + drifting), "{bytes} bytes of {models} models");
        }
    }
}
