//! The series of single tests: those that are past their thresholds and, of all traffic, the nearest to them.
//!
//! A model has room for so many tests and no more, whatever its columns, slices and versions are: the worst are shown. The
//! API has the others.

use super::slice::{Slice, WHOLE};
use crate::catalogue::{DRIFT_P_VALUE, DRIFT_SCORE, DRIFT_SCORE_RATIO, DRIFT_THRESHOLD, Metric};
use crate::exporter::Exporter;
use detectors::schema::PREDICTION;
use detectors::verdict::{Monitor, TestResult, Verdict};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// Every metric set here.
pub(super) const ALL: [&Metric; 4] = [&DRIFT_SCORE, &DRIFT_THRESHOLD, &DRIFT_P_VALUE, &DRIFT_SCORE_RATIO];

/// Those of a test that is past its threshold only.
const OF_EXCEEDED: [&Metric; 3] = [&DRIFT_SCORE, &DRIFT_THRESHOLD, &DRIFT_P_VALUE];

/// So many tests of all traffic are shown that are nearest to their thresholds.
const NEAREST: usize = 2;

/// The most tests that one slice has shown.
const MOST_OF_SLICE: usize = 20;

/// Which tests of which slices are candidates, and which are on show.
#[derive(Debug)]
pub(super) struct TestSeries {
    most_of_model: usize,
    models: HashMap<String, ModelTests>,
}

#[derive(Debug, Default)]
struct ModelTests {
    candidates: HashMap<Slice, Vec<Candidate>>,
    shown: HashMap<TestName, Candidate>,
}

/// What tells a test of a model from the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct TestName {
    version: String,
    segment: String,
    monitor: String,
    kind: &'static str,
    column: String,
    test: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    name: TestName,
    score: f64,
    threshold: f64,
    p_value: f64,
    exceeded: bool,
}

impl TestSeries {
    /// Shows at most so many tests of each model.
    pub(super) fn new(most_of_model: usize) -> Self {
        Self { most_of_model, models: HashMap::new() }
    }

    pub(super) fn most_of_model(&self) -> usize {
        self.most_of_model
    }

    /// Takes the tests of a slice's newest final window.
    pub(super) fn show(&mut self, slice: &Slice, verdict: &Verdict, exporter: &Exporter) {
        let tests = self.models.entry(slice.model.clone()).or_default();
        tests.candidates.insert(slice.clone(), candidates(slice, verdict));
        tests.choose(&slice.model, self.most_of_model, exporter);
    }

    /// Ends the series of these slices of a model.
    pub(super) fn end(&mut self, model: &str, is_over: impl Fn(&Slice) -> bool, exporter: &Exporter) {
        let Some(tests) = self.models.get_mut(model) else { return };
        tests.candidates.retain(|slice, _| !is_over(slice));
        tests.choose(model, self.most_of_model, exporter);
    }
}

impl ModelTests {
    /// Shows the worst candidates, as many as there is room for.
    fn choose(&mut self, model: &str, most: usize, exporter: &Exporter) {
        let mut all: Vec<_> = self.candidates.values().flatten().collect();
        all.sort_by(|one, other| one.worst_first(other));
        all.truncate(most);
        let chosen: HashSet<_> = all.iter().map(|candidate| &candidate.name).collect();
        let gone: Vec<_> = self.shown.extract_if(|name, _| !chosen.contains(name)).collect();
        for (name, _) in gone {
            ALL.iter().for_each(|metric| exporter.remove(metric, &name.labels(model)));
        }
        for candidate in all {
            if self.shown.get(&candidate.name) != Some(candidate) {
                candidate.set(model, exporter);
                self.shown.insert(candidate.name.clone(), candidate.clone());
            }
        }
    }
}

impl TestName {
    fn labels<'a>(&'a self, model: &'a str) -> [&'a str; 7] {
        [model, &self.version, &self.segment, &self.monitor, self.kind, &self.column, &self.test]
    }
}

impl Candidate {
    fn of(slice: &Slice, verdict: &Verdict, test: &TestResult) -> Self {
        let name = TestName {
            version: slice.version.clone(),
            segment: slice.segment.clone(),
            monitor: slice.monitor.clone(),
            kind: kind_of(&verdict.monitor, test),
            column: test.subject.clone(),
            test: test.test.clone(),
        };
        let p_value = test.p_value.unwrap_or(f64::NAN);
        Self { name, score: test.score, threshold: test.threshold, p_value, exceeded: test.exceeded }
    }

    /// Unknown where the threshold is no measure.
    fn ratio(&self) -> f64 {
        if self.threshold > 0.0 { self.score / self.threshold } else { f64::NAN }
    }

    /// Those past their thresholds first, of them those of all traffic, of them the furthest.
    fn worst_first(&self, other: &Self) -> Ordering {
        let rank = |one: &Self| (one.exceeded, one.name.segment == WHOLE);
        let further = other.ratio().total_cmp(&self.ratio());
        rank(other).cmp(&rank(self)).then(further).then_with(|| self.name.cmp(&other.name))
    }

    fn set(&self, model: &str, exporter: &Exporter) {
        let labels = self.name.labels(model);
        exporter.set(&DRIFT_SCORE_RATIO, &labels, self.ratio());
        let known = [self.score, self.threshold, self.p_value];
        for (metric, value) in OF_EXCEEDED.iter().zip(known) {
            exporter.set(metric, &labels, if self.exceeded { value } else { f64::NAN });
        }
    }
}

/// The tests of a window that are worth a series.
fn candidates(slice: &Slice, verdict: &Verdict) -> Vec<Candidate> {
    let mut all: Vec<_> = verdict.tests.iter().map(|test| Candidate::of(slice, verdict, test)).collect();
    all.sort_by(Candidate::worst_first);
    let nearest = match slice.segment == WHOLE && verdict.monitor != Monitor::DataQuality {
        true => NEAREST,
        false => 0,
    };
    let exceeded = all.iter().filter(|test| test.exceeded).count();
    all.truncate(exceeded.max(nearest).min(MOST_OF_SLICE));
    all
}

/// What a test is about, so that a feature that bears the name of something else is not taken for it.
fn kind_of(monitor: &Monitor, test: &TestResult) -> &'static str {
    match monitor {
        Monitor::Quality | Monitor::Sequential(_) => "quality",
        Monitor::DataQuality if test.test == "volume" => "volume",
        Monitor::Drift | Monitor::DataQuality => match test.subject.as_str() {
            PREDICTION => "prediction",
            subject if subject == "score" || subject.starts_with("score.") => "score",
            _ => "feature",
        },
    }
}
