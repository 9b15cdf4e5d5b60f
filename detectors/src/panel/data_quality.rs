//! Data quality: the shares of odd values against the worst that the reference has shown.
//!
//! # Formula
//! A share exceeds when it is above `max(worst window, p + 3·√(p·(1 − p) / n)) + rise`, `p` the reference's share, `n` the
//! window's rows and `rise` what the policy allows. Of unseen categories `p` is the share that comes without a change.
//!
//! A categorical column has too many different values where there are more than `factor · most · max(1, n / rows)` of them,
//! `most` those of the reference's window (or of the whole, where no windows are known) that has the most, but at least
//! [`FEW_VALUES`], and `rows` its rows: what is more than a few values comes with more rows too.
//!
//! A column stands still when it has one value in all rows of a window, has more in the reference and in each of its
//! windows, and its most frequent value there would fill the window by chance with probability below [`STILL_BY_CHANCE`].

use super::policy::DataQualityLimits;
use super::{Judgement, Normal};
use crate::layout::ColumnLayout;
use crate::profile::{ColumnProfile, Fault, Profile};
use crate::reference::ReferenceWindow;
use crate::schema::ColumnSchema;
use crate::threshold::{ThresholdSource, median};
use crate::verdict::TestResult;

/// The name of the test whether a column has one value only.
const STANDS_STILL: &str = "constant";

/// The name of the test whether a column has too many different values.
const CARDINALITY: &str = "cardinality";

/// So many different values are never too many by themselves: their shares are watched anyway.
const FEW_VALUES: f64 = 10.0;

/// Standard errors that chance is given.
const STANDARD_ERRORS: f64 = 3.0;

/// How improbable a window of one value is by chance before it counts.
const STILL_BY_CHANCE: f64 = 1e-6;

/// What data quality is judged by.
#[derive(Debug, Clone)]
pub(super) struct DataQualityPanel {
    limits: DataQualityLimits,
    shares: Vec<ReferenceShare>,
    /// Columns that have never stood still.
    moving: Vec<MovingColumn>,
    /// Columns whose different values can be counted.
    varied: Vec<VariedColumn>,
    /// Rows of the reference's median window.
    median_rows: Option<f64>,
}

/// What the reference shows of one fault in one column.
#[derive(Debug, Clone)]
struct ReferenceShare {
    column: usize,
    name: String,
    fault: Fault,
    share: f64,
    worst: f64,
}

/// A column that has more than one value in each window of the reference.
#[derive(Debug, Clone)]
struct MovingColumn {
    column: usize,
    name: String,
    /// The share of its most frequent value.
    most_frequent: f64,
}

/// A column whose different values can be counted.
#[derive(Debug, Clone)]
struct VariedColumn {
    column: usize,
    name: String,
    /// The most different values that the reference has shown at once.
    most: f64,
    /// In so many rows.
    rows: f64,
}

impl DataQualityPanel {
    pub(super) fn learn(limits: DataQualityLimits, normal: &Normal<'_>) -> Self {
        let (windows, mut shares) = (normal.windows, Vec::new());
        for (column, (profile, schema)) in normal.whole.columns().iter().zip(normal.columns).enumerate() {
            for fault in Fault::ALL {
                // One value has no range to be out of: another one is a change of the world, which the tests of drift
                // see, and which must not block retraining for good as a fault does.
                if fault == Fault::OutOfRange && profile.is_constant() {
                    continue;
                }
                let usual = normal.fresh.get(column).filter(|_| fault == Fault::Unseen).unwrap_or(profile);
                let Some(share) = usual.share_of(fault) else { continue };
                let share = share.max(unseen_to_come(normal.layouts.get(column), profile, fault));
                let of_window = |window: &ReferenceWindow| window.profile.columns().get(column)?.share_of(fault);
                let worst = windows.iter().filter_map(of_window).fold(share, f64::max);
                shares.push(ReferenceShare { column, name: schema.name.clone(), fault, share, worst });
            }
        }
        let mut rows: Vec<f64> = windows.iter().map(|window| window.profile.rows() as f64).collect();
        Self { limits, shares, moving: moving(normal), varied: varied(normal), median_rows: median(&mut rows) }
    }

    /// Whether the window has far more or fewer rows than the reference's; `None` where that is not asked.
    pub(super) fn volume(&self, rows: i64) -> Option<TestResult> {
        let (factor, usual) = (self.limits.volume_factor?, self.median_rows.filter(|usual| *usual > 0.0)?);
        let rows = (rows as f64).max(0.5);
        let score = (rows / usual).max(usual / rows);
        Some(TestResult {
            subject: "rows".to_owned(),
            test: "volume".to_owned(),
            score,
            threshold: factor,
            threshold_from: ThresholdSource::Fixed,
            p_value: None,
            exceeded: score > factor,
        })
    }

    pub(super) fn judge(&self, current: &Profile) -> Judgement {
        let shares = self.shares.iter().filter_map(|reference| {
            let share = current.columns().get(reference.column)?.share_of(reference.fault)?;
            let threshold = self.threshold(reference, current.rows());
            Some(TestResult {
                subject: reference.name.clone(),
                test: reference.fault.test_name().to_owned(),
                score: share,
                threshold,
                threshold_from: ThresholdSource::ReferenceWindows,
                p_value: None,
                exceeded: share > threshold,
            })
        });
        let still = self.moving.iter().filter_map(|moving| moving.judge(current));
        let varied = self.varied.iter().filter_map(|varied| varied.judge(current, self.limits.cardinality_factor));
        let tests: Vec<TestResult> = shares.chain(still).chain(varied).chain(self.volume(current.rows())).collect();
        let summary = summary(&tests);
        Judgement::of(tests, summary)
    }

    fn threshold(&self, reference: &ReferenceShare, rows: i64) -> f64 {
        let p = reference.share;
        let by_chance = p + STANDARD_ERRORS * (p * (1.0 - p) / rows.max(1) as f64).sqrt();
        // A share never exceeds 1, so a higher threshold says the same.
        (reference.worst.max(by_chance) + self.limits.rise(reference.fault)).min(1.0)
    }
}

impl MovingColumn {
    /// Whether the column stands still: a score of 1 where it does.
    fn judge(&self, current: &Profile) -> Option<TestResult> {
        let profile = current.columns().get(self.column)?;
        let by_chance = self.most_frequent.powf(current.rows() as f64);
        let exceeded = profile.is_constant() && by_chance < STILL_BY_CHANCE;
        Some(TestResult {
            subject: self.name.clone(),
            test: STANDS_STILL.to_owned(),
            score: f64::from(u8::from(exceeded)),
            threshold: 0.5,
            threshold_from: ThresholdSource::ReferenceWindows,
            p_value: None,
            exceeded,
        })
    }
}

impl VariedColumn {
    /// Whether the column has far more different values than it ever had.
    fn judge(&self, current: &Profile, factor: f64) -> Option<TestResult> {
        let score = current.columns().get(self.column)?.distinct()?;
        let more_rows = (current.rows() as f64 / self.rows).max(1.0);
        let threshold = factor * self.most.max(FEW_VALUES) * more_rows;
        Some(TestResult {
            subject: self.name.clone(),
            test: CARDINALITY.to_owned(),
            score,
            threshold,
            threshold_from: ThresholdSource::ReferenceWindows,
            p_value: None,
            exceeded: score > threshold,
        })
    }
}

/// The share of categories to come that all those known by name do not have, where none were chosen out of more.
fn unseen_to_come(layout: Option<&ColumnLayout>, profile: &ColumnProfile, fault: Fault) -> f64 {
    match (layout, profile) {
        (Some(ColumnLayout::Categorical(table)), ColumnProfile::Categorical(categories))
            if fault == Fault::Unseen && table.choice().is_none() =>
        {
            categories.once() as f64 / categories.rows().max(1) as f64
        }
        _ => 0.0,
    }
}

fn varied(normal: &Normal<'_>) -> Vec<VariedColumn> {
    let parts: Vec<&Profile> = match normal.windows {
        [] => vec![normal.whole],
        windows => windows.iter().map(|window| &window.profile).collect(),
    };
    let of_column = |(column, schema): (usize, &ColumnSchema)| {
        let distinct = |part: &&Profile| Some((part.columns().get(column)?.distinct()?, part.rows() as f64));
        let (most, rows) = parts.iter().filter_map(distinct).max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(VariedColumn { column, name: schema.name.clone(), most, rows: rows.max(1.0) })
    };
    normal.columns.iter().enumerate().filter_map(of_column).collect()
}

fn moving(normal: &Normal<'_>) -> Vec<MovingColumn> {
    let columns = normal.whole.columns().iter().zip(normal.columns).enumerate();
    let of_column = |(column, (profile, schema)): (usize, (&ColumnProfile, &ColumnSchema))| {
        let still = |window: &ReferenceWindow| window.profile.columns().get(column).is_some_and(|p| p.is_constant());
        if profile.is_constant() || normal.windows.iter().any(still) {
            return None;
        }
        Some(MovingColumn { column, name: schema.name.clone(), most_frequent: profile.most_frequent_share()? })
    };
    columns.filter_map(of_column).collect()
}

/// By how much a test exceeds, on a scale that shares and counts have in common.
fn excess(test: &TestResult) -> f64 {
    test.score / test.threshold.max(f64::MIN_POSITIVE)
}

/// A sentence on the tests of data quality.
pub(super) fn summary(tests: &[TestResult]) -> String {
    let exceeded = tests.iter().filter(|test| test.exceeded);
    let worst = exceeded.clone().max_by(|a, b| excess(a).total_cmp(&excess(b)));
    match worst {
        None => "no share of odd values is beyond its limit".to_owned(),
        Some(test) if test.test == "volume" => {
            format!("{:.1} times more or fewer rows than the reference's windows", test.score)
        }
        Some(test) if test.test == CARDINALITY => format!(
            "`{}` has about {:.0} different values (limit {:.0}); {} such findings",
            test.subject,
            test.score,
            test.threshold,
            exceeded.count()
        ),
        Some(test) if test.test == STANDS_STILL => {
            format!("`{}` has one value in all rows; {} such findings", test.subject, exceeded.count())
        }
        Some(test) => format!(
            "{} of `{}` is {:.1} % (limit {:.1} %); {} such findings",
            test.test,
            test.subject,
            100.0 * test.score,
            100.0 * test.threshold,
            exceeded.count()
        ),
    }
}
