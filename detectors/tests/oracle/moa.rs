//! Sequential detectors, alarm by alarm, as MOA 24.07 has them, on river's streams.

use crate::sequential::{alerts, changes, indices};
use crate::shared::{json, shared, stream};
use detectors::sequential::outcomes::{
    Alert, Ddm, DdmPolicy, HddmA, HddmAPolicy, HddmW, HddmWPolicy, OutcomeDetector, RowOutcome,
};
use detectors::sequential::{
    Adwin, AdwinPolicy, Direction, PlainPageHinkley, PlainPageHinkleyPolicy, SequentialDetector, Sides,
};
use std::collections::BTreeMap;

/// How a row of MOA is compared.
enum Row {
    /// The alarms of a rising mean.
    Rising(Box<dyn SequentialDetector>),
    /// All alarms.
    Outcomes(Box<dyn OutcomeDetector>),
    /// The alarms of a rising share, by a detector that starts afresh at a falling one too.
    RisingOutcomes(Box<dyn OutcomeDetector>),
    /// The first alarm.
    FirstOutcome(Box<dyn OutcomeDetector>),
    /// None, for this reason.
    LeftOut(&'static str),
}

fn row(name: &str) -> Row {
    let adwin = |delta| {
        let policy = AdwinPolicy { delta, ..Default::default() };
        Row::Rising(Box::new(Adwin::new(policy).unwrap()))
    };
    let ddm = |policy| Row::Outcomes(Box::new(Ddm::new(policy).unwrap()));
    match name {
        "ADWINChangeDetector" => adwin(0.002),
        "ADWINChangeDetector -a 0.05" => adwin(0.05),
        // MOA counts from 1 and judges from its 30th on, river after the 30th. At the first outcome that sets the minimum
        // nothing can be found.
        "DDM" => ddm(DdmPolicy { warm_start: 28, ..Default::default() }),
        "DDM -n 100 -w 2.0 -o 2.5" => ddm(DdmPolicy { warm_start: 98, warning: 2.0, drift: 2.5 }),
        // MOA forgets everything when the share has fallen, and does not say so.
        "HDDM_A_Test" => {
            let policy = HddmAPolicy { sides: Sides::Both, ..Default::default() };
            Row::RisingOutcomes(Box::new(HddmA::new(policy).unwrap()))
        }
        // The sum of squared weights starts with another value than river's, so alarms that follow soon upon another may
        // be one outcome later.
        "HDDM_W_Test" => Row::FirstOutcome(Box::new(HddmW::new(HddmWPolicy::default()).unwrap())),
        // A sum that is kept from falling below zero is one held against its minimum, if it does not forget.
        "CusumDM" => {
            let policy = PlainPageHinkleyPolicy { alpha: 1.0, sides: Sides::Up, min_values: 29, ..Default::default() };
            Row::Rising(Box::new(PlainPageHinkley::new(policy).unwrap()))
        }
        _ => Row::LeftOut(why_left_out(name)),
    }
}

fn why_left_out(name: &str) -> &'static str {
    match name {
        "HDDM_A_Test -t Two-sided" | "HDDM_W_Test -t Two-sided" => "the option changes nothing that is meant",
        "EDDM" => "EDDM is river's variant",
        "PageHinkleyDM" | "PageHinkleyDM -l 10.0" => "the sum is held against zero, not against its minimum",
        "EWMAChartDM" => "its limit is fitted to an error rate, by simulation; ours is exact for a reference",
        "GeometricMovingAverageDM" | "STEPD" | "RDDM" | "SEEDChangeDetector" => "not offered",
        _ => panic!("{name} is no row that is known"),
    }
}

impl Row {
    /// What is to be equal: our alarms, and as many of MOA's as are compared; or why there is nothing.
    fn compare(self, values: &[f64], mut wanted: Vec<usize>) -> Result<(Vec<usize>, Vec<usize>), &'static str> {
        let found = match self {
            Self::Rising(mut detector) => {
                let rising = |(index, direction)| (direction == Direction::Rising).then_some(index);
                changes(detector.as_mut(), values).into_iter().filter_map(rising).collect()
            }
            Self::Outcomes(mut detector) => alerts(detector.as_mut(), values).0,
            Self::RisingOutcomes(mut detector) => rising_drifts(detector.as_mut(), values),
            Self::FirstOutcome(mut detector) => {
                wanted.truncate(1);
                alerts(detector.as_mut(), values).0.into_iter().take(1).collect()
            }
            Self::LeftOut(why) => return Err(why),
        };
        Ok((found, wanted))
    }
}

/// Where a detector that starts afresh at every drift found one after whose change point there are more errors than before.
fn rising_drifts(detector: &mut dyn OutcomeDetector, errors: &[f64]) -> Vec<usize> {
    let (mut found, mut since) = (Vec::new(), 0);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    for (index, error) in errors.iter().enumerate() {
        let outcome = if *error == 1.0 { RowOutcome::Wrong } else { RowOutcome::Right };
        let Alert::Drift { change_point } = detector.observe(outcome) else { continue };
        let (before, after) = errors[since..=index].split_at(change_point as usize);
        if mean(after) > mean(before) {
            found.push(index);
        }
        since = index + 1;
    }
    found
}

#[test]
fn single_values_and_outcomes_raise_the_alarms_of_moa() {
    let Some(shared) = shared() else { return };
    let expected = json(&shared.join("oracle/moa_oracle/expected.json"));
    let (mut compared, mut left_out, mut wrong) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (stream_name, results) in expected.as_object().expect("streams") {
        let values = stream(&shared.join(format!("oracle/river_oracle/{stream_name}.csv.gz")));
        for (name, result) in results.as_object().expect("rows") {
            let (found, wanted) = match row(name).compare(&values, indices(&result["drifts"])) {
                Ok(sides) => sides,
                Err(why) => {
                    *left_out.entry(why).or_insert(0) += 1;
                    continue;
                }
            };
            let (rows, alarms) = compared.entry(name.as_str()).or_insert((0, 0));
            *rows += 1;
            *alarms += wanted.len();
            if found != wanted {
                wrong.push(format!("{stream_name} / {name}: found {found:?}, MOA {wanted:?}"));
            }
        }
    }
    println!("MOA, rows and alarms compared: {compared:?}; rows left out: {left_out:?}");
    assert!(!compared.is_empty(), "no row was compared");
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}
