//! Drift: the distributions of a window's columns against the reference's.

use super::attribution::{Movement, Strain, sentence, take_part};
use super::distribution::{Naming, distribution};
use super::policy::{PanelPolicy, Thresholds};
use super::{Judgement, Normal};
use crate::layout::ColumnLayout;
use crate::profile::{ColumnProfile, Profile};
use crate::reference::ReferenceWindow;
use crate::schema::ColumnSchema;
use crate::statistics::{Pair, Statistic};
use crate::threshold::{
    AlarmRule, DrawnNull, DrawnNulls, Limit, Probe, Scores, ThresholdSource, WindowNull, WindowScores, median,
    windows_needed,
};
use crate::verdict::{Attribution, Distribution, TestResult, Why};

/// The least scale of a probe, as a share of the effect that matters.
const FLOOR_OF_EFFECT: f64 = 0.05;

/// The most columns of a verdict whose counts are kept.
const MOST_COUNTED: usize = 12;

/// A score so many times its threshold is no more telling than any larger one.
const MOST_STRAIN: f64 = 1e6;

/// What drift is judged by.
#[derive(Debug, Clone)]
pub(super) struct DriftPanel {
    policy: PanelPolicy,
    rule: AlarmRule,
    columns: Vec<ColumnSchema>,
    layouts: Vec<ColumnLayout>,
    /// What rows to come are held against, column by column.
    reference: Vec<ColumnProfile>,
    probes: Vec<Probe>,
    /// From the reference's own windows, where there are enough.
    windows: Option<WindowNull>,
    /// Why no judgement keeps to the budget.
    unsupported: Option<Why>,
    /// From samples of the reference's counts.
    drawn: DrawnNulls,
}

impl DriftPanel {
    pub(super) fn learn(policy: &PanelPolicy, rule: AlarmRule, normal: &Normal<'_>) -> Self {
        let (layouts, whole) = (normal.layouts, normal.whole);
        let probes_of = |(column, schema): (usize, &ColumnSchema)| {
            let statistics = policy.statistics(schema.kind).iter();
            statistics.map(move |statistic| Probe { column, statistic: *statistic }).collect::<Vec<_>>()
        };
        let probes: Vec<Probe> = normal.columns.iter().enumerate().flat_map(probes_of).collect();
        let floors: Vec<f64> =
            probes.iter().map(|probe| (FLOOR_OF_EFFECT * policy.min_effect(probe.statistic)).max(1e-9)).collect();
        let left_out = match policy.thresholds {
            Thresholds::Learned => left_out_scores(layouts, whole, &probes, &typical(policy, normal.windows)),
            Thresholds::Sampled | Thresholds::Fixed(_) => Vec::new(),
        };
        let windows = WindowNull::learn(&left_out, &floors, rule);
        let is_promised = policy.false_alarms.is_some() && policy.thresholds == Thresholds::Learned;
        let too_short =
            || Why::ReferenceTooShort { windows: left_out.len(), needed: windows_needed(rule, probes.len()) };
        Self {
            policy: policy.clone(),
            rule,
            columns: normal.columns.to_vec(),
            reference: normal.fresh.clone(),
            unsupported: (is_promised && windows.is_none()).then(too_short),
            windows,
            drawn: DrawnNulls::new((layouts, &normal.fresh), probes.clone(), floors, rule),
            layouts: layouts.to_vec(),
            probes,
        }
    }

    /// Why no window can be judged.
    pub(super) fn unsupported(&self) -> Option<&Why> {
        self.unsupported.as_ref()
    }

    pub(super) fn judge(&self, current: &Profile) -> Judgement {
        let drawn = match self.policy.thresholds {
            Thresholds::Learned | Thresholds::Sampled => self.drawn.at(current.rows()),
            Thresholds::Fixed(_) => None,
        };
        let (mut tests, mut strains) = (Vec::with_capacity(self.probes.len()), Vec::new());
        for (place, probe) in self.probes.iter().enumerate() {
            let Some((test, strain)) = self.test(place, current, drawn) else { continue };
            strains.push(Strain { column: probe.column, strain, exceeded: test.exceeded });
            tests.push(test);
        }
        if tests.is_empty() {
            // No statistic is defined, which is not the word that nothing has changed.
            return Judgement::inconclusive(Why::NotInReference);
        }
        if tests.iter().any(|test| test.exceeded) {
            let attribution = self.attribution(&strains, current);
            let summary = sentence(&attribution, self.columns.len());
            return Judgement { attribution, ..Judgement::of(tests, summary) };
        }
        self.nothing_found(tests, current.rows())
    }

    /// That nothing has changed, but for the columns whose tests could not have told.
    fn nothing_found(&self, tests: Vec<TestResult>, rows: i64) -> Judgement {
        let blind = self.out_of_reach(&tests, rows);
        let summary = sentence(&[], self.columns.len());
        let Some(first) = blind.first() else { return Judgement::of(tests, summary) };
        let (subject, test) = (first.subject.clone(), first.test.clone());
        let mut columns: Vec<&str> = tests.iter().map(|test| test.subject.as_str()).collect();
        columns.dedup();
        let blind_columns = blind.len();
        if blind_columns == columns.len() {
            return Judgement { tests, ..Judgement::inconclusive(Why::OutOfReach { subject, test }) };
        }
        let but = format!("{blind_columns} of {} columns cannot be judged, `{subject}` by {test}", columns.len());
        Judgement::of(tests, format!("{summary}; {but}, whose threshold is out of reach"))
    }

    /// Of each column the first test whose threshold no window can exceed.
    pub(super) fn out_of_reach<'a>(&self, tests: &'a [TestResult], rows: i64) -> Vec<&'a TestResult> {
        let reference_rows = self.reference.iter().map(ColumnProfile::rows).max().unwrap_or_default();
        let is_fixed = |test: &TestResult| test.threshold_from == ThresholdSource::Fixed;
        let is_beyond = |test: &TestResult| {
            let statistic = Statistic::ALL.into_iter().find(|statistic| statistic.name() == test.test);
            let most = statistic.and_then(|statistic| statistic.most_score(reference_rows, rows));
            most.is_some_and(|most| test.threshold >= most)
        };
        let mut blind: Vec<&TestResult> = tests.iter().filter(|test| !is_fixed(test) && is_beyond(test)).collect();
        blind.dedup_by(|a, b| a.subject == b.subject);
        blind
    }

    /// How one column moved; `None` where it cannot be compared.
    pub(super) fn movement(&self, column: usize, current: &Profile) -> Option<Movement> {
        let (layout, reference) = (self.layouts.get(column)?, self.reference.get(column)?);
        Movement::of(layout, reference, current.columns().get(column)?, self.naming(column))
    }

    /// The coarse counts of one column; `None` where it cannot be compared.
    fn distribution(&self, column: usize, current: &Profile) -> Option<Distribution> {
        let (layout, reference) = (self.layouts.get(column)?, self.reference.get(column)?);
        distribution(layout, reference, current.columns().get(column)?, self.naming(column))
    }

    fn naming(&self, column: usize) -> Naming {
        match self.columns.get(column).is_some_and(|schema| self.policy.unnamed.contains(&schema.name)) {
            true => Naming::Nothing,
            false => Naming::Frequent,
        }
    }

    /// The columns that take part in a drift, the largest contribution first.
    fn attribution(&self, strains: &[Strain], current: &Profile) -> Vec<Attribution> {
        let quantile = self.rule.quantile_of_tests(strains.len());
        let of_column = |(place, (column, contribution)): (usize, (usize, f64))| {
            let movement = self.movement(column, current)?;
            Some(Attribution {
                column: self.columns.get(column)?.name.clone(),
                contribution,
                moved_share: movement.share,
                towards: movement.towards,
                segment: None,
                distribution: self.distribution(column, current).filter(|_| place < MOST_COUNTED),
            })
        };
        take_part(strains, quantile).into_iter().enumerate().filter_map(of_column).collect()
    }

    /// One probe's result and its strain; `None` where its statistic is undefined.
    fn test(&self, place: usize, current: &Profile, drawn: Option<&DrawnNull>) -> Option<(TestResult, f64)> {
        let probe = self.probes.get(place)?;
        let (layout, schema) = (self.layouts.get(probe.column)?, self.columns.get(probe.column)?);
        let (reference, rows) = (self.reference.get(probe.column)?, current.rows());
        let current = current.columns().get(probe.column)?;
        let pair = Pair::of_profiles(layout, reference, current).ok()?;
        let evidence = probe.statistic.detector().compare(&pair).ok()?;
        let (limit, threshold_from) = self.limit(place, rows, drawn)?;
        let (threshold, exceeded) = (limit.threshold, evidence.score > limit.threshold);
        let strain = match threshold_from {
            ThresholdSource::Sampling | ThresholdSource::ReferenceWindows if threshold > limit.location => {
                (evidence.score - limit.location) / (threshold - limit.location)
            }
            // Nothing is known of how often lower scores come.
            _ if exceeded => (evidence.score / threshold.max(f64::MIN_POSITIVE)).min(MOST_STRAIN),
            _ => 0.0,
        };
        let test = TestResult {
            subject: schema.name.clone(),
            test: probe.statistic.name().to_owned(),
            score: evidence.score,
            threshold,
            threshold_from,
            p_value: evidence.p_value,
            exceeded,
        };
        Some((test, strain))
    }

    /// The user's threshold, or the largest of the minimum effect and of the learned ones.
    fn limit(&self, place: usize, rows: i64, drawn: Option<&DrawnNull>) -> Option<(Limit, ThresholdSource)> {
        let statistic = self.probes.get(place)?.statistic;
        let least = self.policy.min_effect(statistic);
        if let Thresholds::Fixed(fixed) = &self.policy.thresholds {
            let threshold = fixed.get(&statistic).copied().unwrap_or(least);
            return Some((Limit { location: 0.0, threshold }, ThresholdSource::Fixed));
        }
        let sampling = drawn.and_then(|drawn| drawn.limit(place));
        let in_time = self.windows.as_ref().and_then(|windows| windows.limit(place, rows, &self.drawn));
        let learned = [(sampling, ThresholdSource::Sampling), (in_time, ThresholdSource::ReferenceWindows)];
        let learned = learned.into_iter().filter_map(|(limit, source)| Some((limit?, source)));
        let floor = (Limit { location: 0.0, threshold: least }, ThresholdSource::MinimumEffect);
        Some(learned.fold(floor, |most, found| if found.0.threshold > most.0.threshold { found } else { most }))
    }
}

/// The windows that are like those to come: with enough rows to be judged, and at least half as many as the median has.
/// The first and the last often hold a part of their time only.
pub(super) fn typical<'a>(policy: &PanelPolicy, windows: &'a [ReferenceWindow]) -> Vec<&'a Profile> {
    let mut rows: Vec<f64> = windows.iter().map(|window| window.profile.rows() as f64).collect();
    let least = (median(&mut rows).unwrap_or_default() / 2.0).max(policy.min_rows as f64);
    windows.iter().map(|window| &window.profile).filter(|profile| profile.rows() as f64 >= least).collect()
}

/// The scores of each window against the rest of the reference.
fn left_out_scores(
    layouts: &[ColumnLayout],
    whole: &Profile,
    probes: &[Probe],
    windows: &[&Profile],
) -> Vec<WindowScores> {
    let mut left_out = Vec::with_capacity(windows.len());
    for window in windows {
        // A window that is not a part of the whole, or all of it, has no rest to be held against.
        let Ok(rest) = whole.without(window) else { continue };
        if rest.rows() == 0 {
            continue;
        }
        let score = |probe: &Probe| {
            let (layout, rest) = (layouts.get(probe.column)?, rest.columns().get(probe.column)?);
            let window = window.columns().get(probe.column)?;
            let pair = Pair::of_profiles(layout, rest, window).ok()?;
            Some(probe.statistic.detector().compare(&pair).ok()?.score)
        };
        let (rows, scores) = (window.rows(), probes.iter().map(score).collect::<Scores>());
        left_out.push(WindowScores { rows, scores });
    }
    left_out
}
