//! What a finished log says of windows, held against the oracle's table.

use anyhow::{Context, Result};
use capture::partial::{CaptureEpoch, PartialBody};
use capture::references::{ReferenceCache, ReferenceRegistry};
use detectors::layout::ColumnLayout;
use detectors::profile::{CategoricalProfile, ColumnProfile, NumericProfile, Profile};
use detectors::reference::Reference;
use detectors::verdict::{Finality, MonitorEvent, Verdict};
use driftline_tests::{Workplace, all};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use streams::cloud_event;
use streams::topics;

/// How far a metric may lie from the oracle's, relative to it where it is above 1: the oracle has twelve digits.
const TOLERANCE: f64 = 1e-9;
/// The version whose rows are sent, which is the reference's own.
const VERSION: &str = "default";
/// The judgements of a window.
const MONITORS: [&str; 3] = ["drift", "data_quality", "quality"];

/// One row of the oracle's table.
pub(super) struct OracleWindow(BTreeMap<String, String>);

impl OracleWindow {
    /// The windows of one shape.
    pub(super) fn read(folder: &Path, (size, hop): (&str, &str)) -> Vec<Self> {
        let text = std::fs::read_to_string(folder.join("car_loan.csv")).unwrap();
        let mut lines = text.lines();
        let names: Vec<_> = lines.next().unwrap().split(',').collect();
        let row = |line: &str| names.iter().map(ToString::to_string).zip(line.split(',').map(str::to_owned)).collect();
        let windows: Vec<_> =
            lines.map(row).map(Self).filter(|it| it.0["size"] == size && it.0["hop"] == hop).collect();
        assert!(!windows.is_empty(), "the oracle has no windows of {size} every {hop}");
        windows
    }

    fn start_ms(&self) -> i64 {
        self.0["start_ms"].parse().unwrap()
    }

    pub(super) fn end_ms(&self) -> i64 {
        self.0["end_ms"].parse().unwrap()
    }
}

/// How much was compared, and how far apart it was.
#[derive(Default)]
pub(super) struct Tally {
    windows: usize,
    counts: usize,
    metrics: usize,
    medians: usize,
    largest: f64,
    auc_bound: f64,
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { windows, counts, metrics, medians, largest, auc_bound } = self;
        write!(
            formatter,
            "{windows} windows: {counts} counts equal, {metrics} metrics within {largest:.0e} (AUC bound {auc_bound:.4}), {medians} medians in their bins"
        )
    }
}

/// What is left of a service that has ended.
pub(super) struct Finished {
    /// Final verdicts of all of the traffic, by model, monitor and start.
    verdicts: BTreeMap<(String, String, i64), Verdict>,
    /// What was counted in time, by model and pane.
    panes: BTreeMap<(String, i64), Profile>,
    references: ReferenceRegistry,
}

impl Finished {
    pub(super) fn read(place: &Workplace) -> Result<Self> {
        let log = place.log()?;
        let mut references = ReferenceRegistry::new(ReferenceCache::new(Arc::new(place.store()?)));
        for record in all(log.as_ref(), topics::MODELS)? {
            references.absorb(&record)?;
        }
        let mut finished = Self { verdicts: BTreeMap::new(), panes: BTreeMap::new(), references };
        for record in all(log.as_ref(), topics::VERDICTS)? {
            finished.take(cloud_event::decode(&record)?);
        }
        for record in all(log.as_ref(), topics::PARTIALS)? {
            finished.count(rmp_serde::from_slice(record.value.as_deref().context("a tombstone")?)?)?;
        }
        Ok(finished)
    }

    fn take(&mut self, event: MonitorEvent) {
        let MonitorEvent::Verdict(verdict) = event else { return };
        if verdict.finality == Finality::Final && verdict.segment.is_none() {
            let of = (verdict.model.clone(), verdict.monitor.name().to_owned(), verdict.window.start_ms);
            assert!(self.verdicts.insert(of.clone(), *verdict).is_none(), "{of:?} was judged twice");
        }
    }

    fn count(&mut self, epoch: CaptureEpoch) -> Result<()> {
        for partial in epoch.partials.into_iter().filter(|partial| partial.segment.is_none()) {
            if let PartialBody::Inputs { pane_start_ms, late: false, profile } = partial.body {
                match self.panes.entry((partial.model, pane_start_ms)) {
                    Entry::Occupied(mut pane) => pane.get_mut().merge(&profile)?,
                    Entry::Vacant(empty) => {
                        empty.insert(profile);
                    }
                }
            }
        }
        Ok(())
    }

    /// Holds every window of a model against the oracle's, and sees that there is none beside.
    pub(super) fn compare(&self, model: &str, windows: &[OracleWindow], tally: &mut Tally) {
        let wanted: BTreeSet<_> = windows.iter().map(OracleWindow::start_ms).collect();
        for monitor in MONITORS {
            let of = |(of_model, of_monitor, _): &&(String, String, i64)| of_model == model && of_monitor == monitor;
            let judged: BTreeSet<_> = self.verdicts.keys().filter(of).map(|(.., start_ms)| *start_ms).collect();
            assert_eq!(judged, wanted, "windows of {model} with final {monitor}");
        }
        let reference = self.references.choose(model, VERSION).unwrap().reference;
        for window in windows {
            let found = self.window(model, window, &reference);
            window.0.iter().for_each(|(name, cell)| found.compare(name, cell, tally));
            tally.windows += 1;
        }
    }

    fn window<'a>(&'a self, model: &str, window: &OracleWindow, reference: &'a Reference) -> Found<'a> {
        let (start_ms, end_ms) = (window.start_ms(), window.end_ms());
        let verdicts = MONITORS.map(|monitor| &self.verdicts[&(model.to_owned(), monitor.to_owned(), start_ms)]);
        let mut profile = Profile::empty(reference.layouts());
        for (_, pane) in self.panes.range((model.to_owned(), start_ms)..(model.to_owned(), end_ms)) {
            profile.merge(pane).unwrap();
        }
        assert!(verdicts.iter().all(|verdict| verdict.window.end_ms == end_ms));
        Found { at: format!("{model} window at {start_ms}"), verdicts, profile, reference }
    }
}

/// What the service has for one window.
struct Found<'a> {
    at: String,
    /// In the order of [`MONITORS`].
    verdicts: [&'a Verdict; 3],
    profile: Profile,
    reference: &'a Reference,
}

impl Found<'_> {
    fn compare(&self, name: &str, cell: &str, tally: &mut Tally) {
        match name {
            "size" | "hop" | "start_ms" | "end_ms" => {}
            "n" => self.rows(cell.parse().unwrap(), tally),
            _ => match (name.split_once('='), name.rsplit_once('.')) {
                (Some((feature, category)), _) => self.category(feature, category, (cell, tally)),
                (None, Some((feature, statistic))) => self.moment(feature, statistic, (cell, tally)),
                (None, None) => self.metric(name, cell, tally),
            },
        }
    }

    fn rows(&self, wanted: i64, tally: &mut Tally) {
        let [drift, data_quality, quality] = self.verdicts;
        let found = [drift.rows, data_quality.rows, quality.rows, quality.labelled.unwrap(), self.profile.rows()];
        assert_eq!(found, [wanted; 5], "rows of the {}", self.at);
        tally.counts += found.len();
    }

    fn metric(&self, name: &str, cell: &str, tally: &mut Tally) {
        let [_, _, quality] = self.verdicts;
        let found = quality.metrics.get(if name == "log_loss_clip1e15" { "log_loss" } else { name });
        let at = format!("{name} of the {}", self.at);
        if cell.is_empty() {
            return assert_eq!(found, None, "{at} should be undefined");
        }
        let (found, wanted) = (found.unwrap_or_else(|| panic!("{at} is missing")).value, cell.parse::<f64>().unwrap());
        if ["tn", "fp", "fn", "tp"].contains(&name) {
            assert_eq!(found, wanted, "{at}");
            tally.counts += 1;
            return;
        }
        if name == "roc_auc" {
            let bound = quality.metrics["roc_auc_bound"].value;
            assert!((found - wanted).abs() <= bound + TOLERANCE, "{at}: {found}, should be {wanted} ± {bound}");
            tally.auc_bound = tally.auc_bound.max(bound);
        }
        close(&at, (found, wanted), tally);
    }

    fn column(&self, feature: &str) -> (&ColumnProfile, &ColumnLayout) {
        let columns = &self.reference.schema().columns;
        let place = columns.iter().position(|column| column.name == feature).unwrap();
        (&self.profile.columns()[place], &self.reference.layouts()[place])
    }

    fn category(&self, feature: &str, category: &str, (cell, tally): (&str, &mut Tally)) {
        let (ColumnProfile::Categorical(counts), ColumnLayout::Categorical(table)) = self.column(feature) else {
            panic!("{feature} is not categorical")
        };
        let place = table.known().iter().position(|known| known == category);
        let found = counts.known()[place.unwrap_or_else(|| panic!("the reference has no {feature} {category}"))];
        self.equal(&format!("{feature} {category}"), found, (cell, tally));
    }

    fn moment(&self, feature: &str, statistic: &str, (cell, tally): (&str, &mut Tally)) {
        let nulls = match self.column(feature).0 {
            ColumnProfile::Categorical(counts) => CategoricalProfile::null(counts),
            ColumnProfile::Numeric(counts) => NumericProfile::null(counts),
        };
        if statistic == "nulls" {
            return self.equal(&format!("nulls of {feature}"), nulls, (cell, tally));
        }
        let (ColumnProfile::Numeric(counts), ColumnLayout::Numeric(bins)) = self.column(feature) else {
            panic!("{feature} is not numeric")
        };
        let (at, wanted) = (format!("{statistic} of {feature} in the {}", self.at), cell.parse::<f64>().unwrap());
        let found = match statistic {
            "mean" => counts.mean(),
            "std_ddof1" => counts.standard_deviation(),
            "min" => counts.least(),
            "max" => counts.greatest(),
            "p50_linear" => {
                let (low, high) = median_between(counts, bins.edges());
                assert!((low..=high).contains(&wanted), "{at}: between {low} and {high}, should be {wanted}");
                tally.medians += 1;
                return;
            }
            other => panic!("the oracle has a statistic {other}"),
        };
        close(&at, (found.unwrap(), wanted), tally);
    }

    fn equal(&self, what: &str, found: i64, (cell, tally): (&str, &mut Tally)) {
        // pandas has no cell for a category without rows.
        let wanted = if cell.is_empty() { 0 } else { cell.parse().unwrap() };
        assert_eq!(found, wanted, "{what} in the {}", self.at);
        tally.counts += 1;
    }
}

fn close(at: &str, (found, wanted): (f64, f64), tally: &mut Tally) {
    let apart = (found - wanted).abs() / wanted.abs().max(1.0);
    assert!(apart <= TOLERANCE, "{at}: {found}, should be {wanted}");
    tally.metrics += 1;
    tally.largest = tally.largest.max(apart);
}

/// The edges around the one or two values in the middle, by the counts of the bins.
fn median_between(counts: &NumericProfile, edges: &[f64]) -> (f64, f64) {
    let values = counts.finite();
    let bin_of = |rank: i64| {
        let mut below = counts.below();
        counts.fine().iter().position(|count| {
            below += count;
            below > rank
        })
    };
    let middle = (values - 1) / 2;
    let low = bin_of(middle).filter(|_| counts.below() <= middle).map_or(counts.least().unwrap(), |bin| edges[bin]);
    let high = bin_of(values / 2).map_or(counts.greatest().unwrap(), |bin| edges[bin + 1]);
    (low, high)
}
