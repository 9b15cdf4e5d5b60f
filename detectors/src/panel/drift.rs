//! Drift: the distributions of a window's columns against the reference's.

use super::policy::{PanelPolicy, Thresholds};
use super::{Judgement, Normal};
use crate::layout::ColumnLayout;
use crate::profile::{ColumnProfile, Profile};
use crate::reference::ReferenceWindow;
use crate::schema::ColumnSchema;
use crate::statistics::{Pair, mean_shift};
use crate::threshold::{
    AlarmRule, DrawnNull, DrawnNulls, Probe, Scores, ThresholdSource, WindowNull, WindowScores, median, windows_needed,
};
use crate::verdict::{TestResult, Why};

/// The least scale of a probe, as a share of the effect that matters.
const FLOOR_OF_EFFECT: f64 = 0.05;

/// Rows below which a category's name is not shown.
const LEAST_SHOWN: i64 = 10;

/// What drift is judged by.
#[derive(Debug, Clone)]
pub(super) struct DriftPanel {
    policy: PanelPolicy,
    columns: Vec<ColumnSchema>,
    layouts: Vec<ColumnLayout>,
    reference: Profile,
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
            columns: normal.columns.to_vec(),
            reference: whole.clone(),
            unsupported: (is_promised && windows.is_none()).then(too_short),
            windows,
            drawn: DrawnNulls::new((layouts, whole.columns()), probes.clone(), floors, rule),
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
        let mut tests = Vec::with_capacity(self.probes.len());
        let mut lead: Option<(f64, usize)> = None;
        for (place, probe) in self.probes.iter().enumerate() {
            let Some(test) = self.test(place, current, drawn) else { continue };
            let beyond = test.score / test.threshold.max(f64::MIN_POSITIVE);
            if test.exceeded && lead.is_none_or(|(most, _)| beyond > most) {
                lead = Some((beyond, probe.column));
            }
            tests.push(test);
        }
        let summary = match lead {
            Some((_, column)) => self.summary(column, &tests, current),
            None => "no column moved beyond what the reference does on its own".to_owned(),
        };
        Judgement::of(tests, summary)
    }

    /// One probe's result; `None` where its statistic is undefined.
    fn test(&self, place: usize, current: &Profile, drawn: Option<&DrawnNull>) -> Option<TestResult> {
        let probe = self.probes.get(place)?;
        let (layout, schema) = (self.layouts.get(probe.column)?, self.columns.get(probe.column)?);
        let (reference, rows) = (self.reference.columns().get(probe.column)?, current.rows());
        let current = current.columns().get(probe.column)?;
        let pair = Pair::of_profiles(layout, reference, current).ok()?;
        let evidence = probe.statistic.detector().compare(&pair).ok()?;
        let (threshold, threshold_from) = self.threshold(place, rows, drawn)?;
        Some(TestResult {
            subject: schema.name.clone(),
            test: probe.statistic.name().to_owned(),
            score: evidence.score,
            threshold,
            threshold_from,
            p_value: evidence.p_value,
            exceeded: evidence.score > threshold,
        })
    }

    /// The user's threshold, or the largest of the minimum effect and of the learned ones.
    fn threshold(&self, place: usize, rows: i64, drawn: Option<&DrawnNull>) -> Option<(f64, ThresholdSource)> {
        let statistic = self.probes.get(place)?.statistic;
        let least = self.policy.min_effect(statistic);
        if let Thresholds::Fixed(fixed) = &self.policy.thresholds {
            return Some((fixed.get(&statistic).copied().unwrap_or(least), ThresholdSource::Fixed));
        }
        let sampling = drawn.and_then(|drawn| drawn.threshold(place));
        let in_time = self.windows.as_ref().and_then(|windows| windows.threshold(place, rows, &self.drawn));
        let floor = (least, ThresholdSource::MinimumEffect);
        Some(ThresholdSource::largest([
            floor,
            sampling.map_or(floor, |threshold| (threshold, ThresholdSource::Sampling)),
            in_time.map_or(floor, |threshold| (threshold, ThresholdSource::ReferenceWindows)),
        ]))
    }

    fn summary(&self, lead: usize, tests: &[TestResult], current: &Profile) -> String {
        let exceeds = |column: &&ColumnSchema| tests.iter().any(|test| test.exceeded && test.subject == column.name);
        let moved = self.columns.iter().filter(exceeds).count();
        let name = self.columns.get(lead).map(|column| column.name.as_str()).unwrap_or_default();
        let how = self.how_moved(lead, current).unwrap_or_default();
        format!("`{name}` moved{how}; {moved} of {} columns", self.columns.len())
    }

    /// How much of a column's mass moved, and where to.
    fn how_moved(&self, column: usize, current: &Profile) -> Option<String> {
        let layout = self.layouts.get(column)?;
        let (reference, current) = (self.reference.columns().get(column)?, current.columns().get(column)?);
        let share = 100.0 * Pair::of_profiles(layout, reference, current).ok()?.cells().ok()?.moved_share();
        let direction = match (layout, reference, current) {
            (_, ColumnProfile::Numeric(reference), ColumnProfile::Numeric(current)) => {
                match mean_shift(reference, current) {
                    Some(shift) if shift > 0.0 => ", towards higher values".to_owned(),
                    Some(shift) if shift < 0.0 => ", towards lower values".to_owned(),
                    _ => String::new(),
                }
            }
            _ => most_grown(layout, reference, current)
                .map(|name| format!(", most towards `{name}`"))
                .unwrap_or_default(),
        };
        Some(format!(": {share:.0} % of the mass{direction}"))
    }
}

/// The category that gained most, if enough rows have it for its name to be shown.
fn most_grown<'a>(layout: &'a ColumnLayout, reference: &ColumnProfile, current: &ColumnProfile) -> Option<&'a str> {
    let (ColumnLayout::Categorical(table), ColumnProfile::Categorical(before), ColumnProfile::Categorical(now)) =
        (layout, reference, current)
    else {
        return None;
    };
    let (n, m) = (before.rows() as f64, now.rows() as f64);
    let known = table.known().iter().map(String::as_str).zip(before.known().iter().zip(now.known()));
    let unseen = [("unseen categories", (&before.unseen(), &now.unseen()))].map(|(name, (a, b))| (name, *a, *b));
    let gains = known
        .map(|(name, (a, b))| (name, *a, *b))
        .chain(unseen)
        .filter(|(_, _, rows)| *rows >= LEAST_SHOWN)
        .map(|(name, a, b)| (name, b as f64 / m - a as f64 / n));
    gains.filter(|(_, gain)| *gain > 0.0).max_by(|(_, x), (_, y)| x.total_cmp(y)).map(|(name, _)| name)
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
