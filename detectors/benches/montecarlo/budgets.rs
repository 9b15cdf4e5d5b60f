//! The delay at one false alarm a month: steps of a second, a minute and an hour.

use crate::contestants::{cusum, e_detector, ewma, known, learned, shewhart};
use crate::random::SplitMix64;
use detectors::sequential::{Adwin, AdwinPolicy, Baseline, PageHinkley, PageHinkleyPolicy, SequentialDetector, Signal};

const RUNS: u64 = 100;
/// Steps and outcomes before the change, at least, so that nothing is fresh and a window has something to compare with.
const STEPS_BEFORE: i64 = 200;
const OUTCOMES_BEFORE: i64 = 10_000;
/// Outcomes after the change until a run is given up.
const PATIENCE: i64 = 200_000;

/// One row of the table.
type New = Box<dyn Fn() -> Box<dyn SequentialDetector>>;

/// Runs the detectors of the service on a rise and on a fall of the share of errors, with an outcome a second.
pub(crate) fn print() {
    println!(
        "\n# Delay in outcomes (false alarms in {RUNS} runs before the change) at one false alarm in 30 days, one outcome a second"
    );
    for (cadence, run_length, outcomes) in
        [("second", 2_592_000.0, 1), ("minute", 43_200.0, 60), ("hour", 720.0, 3_600)]
    {
        for (before, after) in [(0.05, 0.06), (0.05, 0.10), (0.20, 0.25), (0.20, 0.40), (0.30, 0.10)] {
            println!("\nsteps of a {cadence}, errors from {before} to {after}");
            for (name, new) in detectors(before, run_length) {
                println!("  {name:<28}{}", delay(&new, (before, after), outcomes));
            }
        }
    }
}

fn detectors(share: f64, run_length: f64) -> Vec<(&'static str, New)> {
    let row = |name, new: New| (name, new);
    let deviation = (share * (1.0 - share)).sqrt();
    let baseline = Baseline::Reference { mean: share, standard_deviation: deviation };
    vec![
        row("ADWIN, paper (.002)", Box::new(|| Box::new(Adwin::new(AdwinPolicy::default()).unwrap()))),
        row(
            "Page-Hinkley, reference",
            Box::new(move || Box::new(PageHinkley::new(PageHinkleyPolicy::default(), baseline).unwrap())),
        ),
        row("CUSUM", Box::new(move || Box::new(cusum(share, run_length)))),
        row("EWMA", Box::new(move || Box::new(ewma(share, run_length)))),
        row("Shewhart", Box::new(move || Box::new(shewhart(share, run_length)))),
        row("e-detector", Box::new(move || Box::new(e_detector(known(share), run_length)))),
        row("e-detector, of 10,000", Box::new(move || Box::new(e_detector(learned(share), run_length)))),
    ]
}

/// Mean delay, how many were never found, and false alarms before.
fn delay(new: &New, (before, after): (f64, f64), outcomes: u32) -> String {
    let (mut delays, mut false_alarms, mut missed) = (Vec::new(), 0, 0);
    let steps_before = STEPS_BEFORE.max(OUTCOMES_BEFORE / i64::from(outcomes));
    for run in 0..RUNS {
        let (mut detector, mut random) = (new(), SplitMix64::new(2, run));
        for step in 0..steps_before {
            let quiet = detector.observe(step, random.step(outcomes, |random| random.error(before))) == Signal::Quiet;
            false_alarms += usize::from(!quiet);
        }
        let mut alarms = |step: i64| {
            let step = detector.observe(steps_before + step, random.step(outcomes, |random| random.error(after)));
            step != Signal::Quiet
        };
        match (1..=PATIENCE / i64::from(outcomes)).find(|step| alarms(*step)) {
            Some(steps) => delays.push(steps as f64 * f64::from(outcomes)),
            None => missed += 1,
        }
    }
    let mean = delays.iter().sum::<f64>() / delays.len() as f64;
    let never = if missed > 0 { format!(", {missed} not found") } else { String::new() };
    if delays.is_empty() {
        format!("      not found ({false_alarms})")
    } else {
        format!("{mean:>9.0} ({false_alarms}){never}")
    }
}
