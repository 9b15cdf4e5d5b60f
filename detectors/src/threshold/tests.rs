//! The thresholds' promises: a rate is kept, by alarms of several windows too, and a short reference is held to less.

use super::window::windows_needed;
use super::*;
use crate::layout::ColumnLayout;
use crate::profile::ColumnProfile;

const ONE_OF_ONE: AlarmRule = AlarmRule { rate: 0.005, agreeing: 1, of: 1 };
const TWO_OF_THREE: AlarmRule = AlarmRule { rate: 0.001, agreeing: 2, of: 3 };

#[test]
fn an_alarm_is_the_mth_largest_of_n_consecutive_windows() {
    let excesses = [0.0, 5.0, 1.0, 4.0, 2.0];
    assert_eq!(TWO_OF_THREE.alarms(&excesses), [1.0, 4.0, 2.0]);
    assert_eq!(ONE_OF_ONE.alarms(&excesses), excesses);
    assert!(TWO_OF_THREE.alarms(&excesses[..2]).is_empty());
}

#[test]
fn no_more_alarms_exceed_the_critical_value_than_the_rate_allows() {
    let alarms: Vec<f64> = (1..=999).map(f64::from).collect();
    let exceeding = |rate| {
        let critical = AlarmRule { rate, ..ONE_OF_ONE }.critical(alarms.clone(), alarms.len()).unwrap();
        alarms.iter().filter(|alarm| **alarm > critical).count()
    };
    // Of 1,000 alarms, the one to come among them, so many may exceed.
    assert_eq!([0.000_1, 0.001, 0.01, 0.1].map(exceeding), [0, 0, 9, 99]);
}

#[test]
fn rarer_alarms_than_were_drawn_have_a_threshold_farther_out() {
    // Quantiles of an exponential distribution, whose tail is continued as it is.
    let alarms: Vec<f64> = (1..=2_999).map(|i| -(1.0 - f64::from(i) / 3_000.0).ln()).collect();
    let critical = |rate: f64| AlarmRule { rate, ..ONE_OF_ONE }.critical(alarms.clone(), alarms.len()).unwrap();
    for rate in [0.000_1_f64, 0.000_01] {
        let exact = -rate.ln();
        assert!((critical(rate) / exact - 1.0).abs() < 0.05, "{rate}: {}, exactly {exact}", critical(rate));
    }
    assert!(critical(0.000_3) > critical(0.000_34));
}

#[test]
fn two_of_three_windows_may_exceed_more_often_than_one_of_one() {
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    close(ONE_OF_ONE.rate_of_windows(), 0.005);
    close(TWO_OF_THREE.rate_of_windows(), (0.001_f64 / 2.0).sqrt());
    close(AlarmRule { rate: 0.001, agreeing: 3, of: 3 }.rate_of_windows(), 0.1);
}

#[test]
fn windows_of_the_reference_count_the_more_the_more_there_are() {
    let (drawn, floors) = (drawn(TWO_OF_THREE), [0.001]);
    let threshold = |count: usize| {
        let window = |i: usize| WindowScores { rows: 500, scores: vec![Some(0.1 + 0.02 * (i % 2) as f64)] };
        let windows: Vec<WindowScores> = (0..count).map(window).collect();
        WindowNull::learn(&windows, &floors, TWO_OF_THREE).map(|null| null.limit(0, 500, &drawn).unwrap().threshold)
    };
    assert_eq!(threshold(1), None);
    let found = [2, 5, 20, 100].map(|count| threshold(count).unwrap());
    assert!(found.is_sorted_by(|a, b| a > b), "{found:?}");
    // Windows without spread beyond the floor have a threshold not far above their scores.
    assert!(found[3] < 0.2, "{found:?}");
    assert_eq!([1, 20].map(|probes| windows_needed(TWO_OF_THREE, probes)), [7, 8]);
}

#[test]
fn smaller_windows_have_higher_thresholds_and_the_same_at_every_run() {
    let (once, again) = (drawn(ONE_OF_ONE), drawn(ONE_OF_ONE));
    let threshold = |nulls: &DrawnNulls, rows| nulls.at(rows).unwrap().limit(0).unwrap().threshold;
    assert!(threshold(&once, 128) > 1.5 * threshold(&once, 1_000));
    assert_eq!(threshold(&once, 600), threshold(&again, 600));
    assert!(once.at(0).is_none());
}

/// Drawn from 2,048 evenly spread numbers.
fn drawn(rule: AlarmRule) -> DrawnNulls {
    let mut values: Vec<f64> = (0..2_000).map(f64::from).collect();
    let layout = ColumnLayout::learn_numeric(&mut values);
    let profile = ColumnProfile::empty(&layout).recounted(&layout, &vec![8; 256]).unwrap();
    let probes = vec![Probe { column: 0, statistic: Statistic::JensenShannon }];
    DrawnNulls::new((&[layout], &[profile]), probes, vec![0.001], rule)
}
