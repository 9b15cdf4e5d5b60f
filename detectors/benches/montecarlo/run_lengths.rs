//! How long detectors run without a change until they alarm, beside what their settings promise.

use crate::contestants::{cusum, e_detector, ewma, known, learned, shewhart};
use crate::random::SplitMix64;
use detectors::moments::Moments;
use detectors::sequential::{
    BoundedMean, Cusum, CusumPolicy, EDetector, EDetectorPolicy, Ewma, EwmaPolicy, InControl, Reads,
    SequentialDetector, Shewhart, ShewhartPolicy, Signal,
};

/// Steps that each detector is set to.
const PROMISED: f64 = 1_000.0;
const RUNS: u64 = 400;
/// A run that has come so far counts as so long; the mean is then a lower bound.
const LONGEST: usize = 50_000;

/// Draws the next step.
type Draw = fn(&mut SplitMix64) -> Moments;

/// Runs every detector on streams without a change.
pub(crate) fn print() {
    println!("\n# Run length without a change, in steps; promised: {PROMISED}");
    println!("{:<66}{:>10}{:>8}{:>9}", "", "mean", "± error", "cut off");
    guaranteed();
    dependent();
    approximate();
}

fn guaranteed() {
    let errors = || e_detector(known(0.2), PROMISED);
    report("e-detector, errors at .2, single", errors, |random| Moments::of(random.error(0.2)));
    report("e-detector, errors at .2, steps of 50", errors, |random| random.step(50, |random| random.error(0.2)));
    report(
        "e-detector, errors at .01, single",
        || e_detector(known(0.01), PROMISED),
        |random| Moments::of(random.error(0.01)),
    );
    report("e-detector, uniform, single", || e_detector(known(0.5), PROMISED), |random| Moments::of(random.uniform()));
    report(
        "e-detector, uniform, steps of 50",
        || e_detector(known(0.5), PROMISED),
        |random| random.step(50, SplitMix64::uniform),
    );
    let tenth = || e_detector(known(0.1), PROMISED);
    report("e-detector, beta(1/9, 1), single", tenth, |random| Moments::of(random.uniform().powi(9)));
    report("e-detector, beta(1/9, 1), steps of 50", tenth, |random| random.step(50, |random| random.uniform().powi(9)));
    let unbounded = || e_detector(BoundedMean::known(Some(0.0), None, 1.0).unwrap(), PROMISED);
    report("e-detector, exponential losses, rise only", unbounded, |random| {
        random.step(50, |random| -(1.0 - random.uniform()).ln())
    });
    report(
        "e-detector, errors at .2, reference of 10,000 that says so",
        || e_detector(learned(0.2), PROMISED),
        |random| random.step(50, |random| random.error(0.2)),
    );
}

/// Where the claim about single values is wrong.
fn dependent() {
    let errors = || e_detector(known(0.2), PROMISED);
    println!("Rows of a step share a cause: errors at .2 on average, of one step at .1 or .3:");
    report("e-detector by values, which claims otherwise", errors, shared_cause);
    report("e-detector by step means", by_step_means, shared_cause);
}

fn shared_cause(random: &mut SplitMix64) -> Moments {
    let share = if random.uniform() < 0.5 { 0.1 } else { 0.3 };
    random.step(50, |random| random.error(share))
}

fn by_step_means() -> EDetector {
    EDetector::new(EDetectorPolicy { run_length: PROMISED, reads: Reads::StepMeans }, known(0.2)).unwrap()
}

fn approximate() {
    println!(
        "Charts, whose promise is for normal means (exact for Shewhart, a bound for EWMA, an approximation for CUSUM):"
    );
    let standard = || InControl::known(0.0, 1.0).unwrap();
    let (by_cusum, by_ewma) =
        (CusumPolicy::with_run_length(0.5, PROMISED).unwrap(), EwmaPolicy::with_run_length(0.1, PROMISED).unwrap());
    let by_shewhart = ShewhartPolicy::with_run_length(PROMISED).unwrap();
    let normal: Draw = |random| Moments::of(random.normal());
    report("CUSUM, normal", || Cusum::new(by_cusum, standard()).unwrap(), normal);
    report("EWMA, normal", || Ewma::new(by_ewma, standard()).unwrap(), normal);
    report("Shewhart, normal", || Shewhart::new(by_shewhart, standard()).unwrap(), normal);
    let fifth: Draw = |random| random.step(50, |random| random.error(0.2));
    report("CUSUM, errors at .2, steps of 50", || cusum(0.2, PROMISED), fifth);
    report("EWMA, errors at .2, steps of 50", || ewma(0.2, PROMISED), fifth);
    report("Shewhart, errors at .2, steps of 50", || shewhart(0.2, PROMISED), fifth);
    let rare: Draw = |random| random.step(50, |random| random.error(0.02));
    report("CUSUM, errors at .02, steps of 50", || cusum(0.02, PROMISED), rare);
    report("EWMA, errors at .02, steps of 50", || ewma(0.02, PROMISED), rare);
    report("Shewhart, errors at .02, steps of 50", || shewhart(0.02, PROMISED), rare);
}

/// Prints the mean run length of new detectors on streams of their own.
fn report<D: SequentialDetector>(name: &str, new: impl Fn() -> D, draw: Draw) {
    let lengths: Vec<usize> = (0..RUNS).map(|run| run_length(new(), SplitMix64::new(1, run), draw)).collect();
    let runs = lengths.len() as f64;
    let mean = lengths.iter().sum::<usize>() as f64 / runs;
    let spread: f64 = lengths.iter().map(|length| (*length as f64 - mean).powi(2)).sum();
    let error = (spread / (runs - 1.0) / runs).sqrt();
    let cut = lengths.iter().filter(|length| **length == LONGEST).count();
    println!("{name:<66}{mean:>10.0}{error:>8.0}{cut:>9}");
}

fn run_length(mut detector: impl SequentialDetector, mut random: SplitMix64, draw: Draw) -> usize {
    let alarm = (1..=LONGEST).find(|step| detector.observe(*step as i64, draw(&mut random)) != Signal::Quiet);
    alarm.unwrap_or(LONGEST)
}
