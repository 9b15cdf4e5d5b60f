//! The delay at one false alarm a month: steps of a second, a minute and an hour, with a row a second.
//!
//! Errors, and losses of a skewed distribution (exponential, clipped at 34.5 as a log loss of scores is).

use crate::random::SplitMix64;
use detectors::moments::Moments;
use detectors::sequential::{
    Adwin, AdwinPolicy, Baseline, BoundedMean, Cusum, CusumPolicy, EDetector, EDetectorPolicy, Ewma, EwmaPolicy,
    InControl, PageHinkley, PageHinkleyPolicy, Scale, SequentialDetector, Shewhart, ShewhartPolicy, Signal,
};

const RUNS: u64 = 100;
/// Steps and rows before the change, at least, so that nothing is fresh and a window has something to compare with.
const STEPS_BEFORE: i64 = 200;
const ROWS_BEFORE: i64 = 10_000;
/// Rows after the change until a run is given up.
const PATIENCE: i64 = 200_000;
/// Rows of the reference, where it is not known without error.
const REFERENCE: i64 = 10_000;

/// Makes one row of the table ready to run.
type New = Box<dyn Fn() -> Box<dyn SequentialDetector>>;

/// What rows are drawn from.
#[derive(Clone, Copy)]
enum Rows {
    Errors,
    Losses,
}

impl Rows {
    fn draw(self, random: &mut SplitMix64, mean: f64) -> f64 {
        match self {
            Self::Errors => random.error(mean),
            Self::Losses => (-(1.0 - random.uniform()).ln() * mean).min(self.greatest()),
        }
    }

    fn deviation(self, mean: f64) -> f64 {
        match self {
            Self::Errors => (mean * (1.0 - mean)).sqrt(),
            Self::Losses => mean,
        }
    }

    /// Where rows cannot lie beyond.
    fn greatest(self) -> f64 {
        match self {
            Self::Errors => 1.0,
            Self::Losses => 34.5,
        }
    }

    /// Where 10,000 rows hardly lie beyond: what a reference shows, and ADWIN is scaled by.
    fn usually_greatest(self, mean: f64) -> f64 {
        match self {
            Self::Errors => 1.0,
            Self::Losses => mean * (REFERENCE as f64).ln(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Losses => "losses",
        }
    }
}

/// Runs the detectors of the service on rises and falls.
pub(crate) fn print() {
    println!("\n# Delay in rows (and false alarms in {RUNS} runs before the change) at one false alarm in 30 days");
    let errors =
        [(0.05, 0.06), (0.05, 0.10), (0.20, 0.25), (0.20, 0.40), (0.30, 0.10)].map(|change| (Rows::Errors, change));
    let losses = [(0.35, 0.40), (0.35, 0.50), (0.35, 0.25)].map(|change| (Rows::Losses, change));
    for (cadence, run_length, size) in
        [("a second", 2_592_000.0, 1), ("a minute", 43_200.0, 60), ("an hour", 720.0, 3_600)]
    {
        for (rows, (before, after)) in errors.into_iter().chain(losses) {
            println!("\nsteps of {cadence}, {} from {before} to {after}", rows.name());
            for (name, new) in detectors(rows, before, run_length) {
                println!("  {name:<28}{}", delay(&new, rows, (before, after), size));
            }
        }
    }
}

fn detectors(rows: Rows, mean: f64, run_length: f64) -> Vec<(&'static str, New)> {
    let standard_deviation = rows.deviation(mean);
    let baseline = Baseline::Reference { mean, standard_deviation };
    let reference = InControl::known(mean, standard_deviation).unwrap();
    let (low, high, n) = (0.0, rows.greatest(), REFERENCE as f64);
    let sums = Moments { n: REFERENCE, sum: n * mean, sum_sq: n * (mean * mean + standard_deviation.powi(2)) };
    let known = BoundedMean::known(Some(low), Some(high), mean).unwrap();
    let learned = BoundedMean::learned((low, high), sums, 0.99).unwrap();
    let by_cusum = CusumPolicy::with_run_length(0.5, run_length).unwrap();
    let by_ewma = EwmaPolicy::with_run_length(0.1, run_length).unwrap();
    let by_shewhart = ShewhartPolicy::with_run_length(run_length).unwrap();
    let bets = EDetectorPolicy { run_length, ..Default::default() };
    let scale = Scale::between(low, rows.usually_greatest(mean)).unwrap();
    let adwin = move || Scaled(Adwin::new(AdwinPolicy::default()).unwrap(), scale);
    vec![
        ("ADWIN, paper (.002)", Box::new(move || Box::new(adwin()))),
        ("Page-Hinkley, reference", boxed(move || PageHinkley::new(PageHinkleyPolicy::default(), baseline))),
        ("CUSUM", boxed(move || Cusum::new(by_cusum, reference))),
        ("EWMA", boxed(move || Ewma::new(by_ewma, reference))),
        ("Shewhart", boxed(move || Shewhart::new(by_shewhart, reference))),
        ("e-detector", boxed(move || EDetector::new(bets, known))),
        ("e-detector, of 10,000", boxed(move || EDetector::new(bets, learned))),
    ]
}

fn boxed<D: SequentialDetector + 'static, E: std::fmt::Debug>(new: impl Fn() -> Result<D, E> + 'static) -> New {
    Box::new(move || Box::new(new().unwrap()))
}

/// A detector that assumes values in [0, 1].
struct Scaled(Adwin, Scale);

impl SequentialDetector for Scaled {
    fn observe(&mut self, step_start_ms: i64, step: Moments) -> Signal {
        self.0.observe(step_start_ms, self.1.apply(step))
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Mean delay, false alarms before, and how many were never found.
fn delay(new: &New, rows: Rows, (before, after): (f64, f64), size: u32) -> String {
    let (mut delays, mut false_alarms) = (Vec::new(), 0);
    let steps_before = STEPS_BEFORE.max(ROWS_BEFORE / i64::from(size));
    for run in 0..RUNS {
        let (mut detector, mut random) = (new(), SplitMix64::new(2, run));
        let mut alarms = |step: i64, mean: f64| {
            detector.observe(step, random.step(size, |random| rows.draw(random, mean))) != Signal::Quiet
        };
        false_alarms += (0..steps_before).filter(|step| alarms(*step, before)).count();
        let found = (1..=PATIENCE / i64::from(size)).find(|step| alarms(steps_before + step, after));
        delays.extend(found.map(|steps| steps as f64 * f64::from(size)));
    }
    let missed = RUNS as usize - delays.len();
    let mean = delays.iter().sum::<f64>() / delays.len() as f64;
    match (delays.is_empty(), missed) {
        (true, _) => format!("{:>9} ({false_alarms})", "never"),
        (false, 0) => format!("{mean:>9.0} ({false_alarms})"),
        (false, missed) => format!("{mean:>9.0} ({false_alarms}), {missed} not found"),
    }
}
