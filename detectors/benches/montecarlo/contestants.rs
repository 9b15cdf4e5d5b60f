//! The detectors that are run on the scenarios.
//!
//! Those that river or MOA have too are set as there. The others are told the share of errors before the change, as a
//! reference tells a service, and are set to one false alarm in 100,000 outcomes; those that read steps get steps of 50.

use detectors::moments::Moments;
use detectors::sequential::outcomes::{
    Alert, Ddm, DdmPolicy, Eddm, EddmPolicy, HddmA, HddmAPolicy, HddmW, HddmWPolicy, OutcomeDetector, RowOutcome,
};
use detectors::sequential::{
    Adwin, AdwinPolicy, AfterChange, Baseline, BoundedMean, Cusum, CusumPolicy, Direction, EDetector, EDetectorPolicy,
    Ewma, EwmaPolicy, InControl, PageHinkley, PageHinkleyPolicy, PlainPageHinkley, PlainPageHinkleyPolicy,
    SequentialDetector, Shewhart, ShewhartPolicy, Sides, Signal,
};

/// Outcomes between two false alarms.
const RUN_LENGTH: f64 = 100_000.0;
/// Outcomes in a step.
const STEP: usize = 50;
/// Outcomes that a small reference has.
const REFERENCE: i64 = 10_000;

/// A detector that is run, and what it is called elsewhere.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) river: Option<&'static str>,
    pub(crate) moa: Option<&'static str>,
    new: fn(f64) -> Watcher,
}

impl Contestant {
    /// Where a new one alarms, against the share of errors before the change.
    pub(crate) fn alarms(&self, before: f64, errors: &[f64]) -> Vec<usize> {
        (self.new)(before).alarms(errors)
    }
}

/// What it reads, and which alarms count.
enum Watcher {
    /// Single outcomes.
    Outcomes(Box<dyn OutcomeDetector>),
    /// Steps of so many outcomes.
    Steps(Box<dyn SequentialDetector>, usize),
    /// Steps of one outcome; a falling share does not count.
    Rising(Box<dyn SequentialDetector>),
}

impl Watcher {
    /// The last outcome of each step in which there was an alarm.
    fn alarms(self, errors: &[f64]) -> Vec<usize> {
        match self {
            Self::Outcomes(detector) => drifts(detector, errors),
            Self::Steps(detector, size) => {
                changes(detector, errors, size).into_iter().map(|(index, _)| index).collect()
            }
            Self::Rising(detector) => {
                let rising = |(index, direction)| (direction == Direction::Rising).then_some(index);
                changes(detector, errors, 1).into_iter().filter_map(rising).collect()
            }
        }
    }
}

fn drifts(mut detector: Box<dyn OutcomeDetector>, errors: &[f64]) -> Vec<usize> {
    let mut found = Vec::new();
    for (index, error) in errors.iter().enumerate() {
        let outcome = if *error == 1.0 { RowOutcome::Wrong } else { RowOutcome::Right };
        if let Alert::Drift { .. } = detector.observe(outcome) {
            found.push(index);
        }
    }
    found
}

fn changes(mut detector: Box<dyn SequentialDetector>, errors: &[f64], size: usize) -> Vec<(usize, Direction)> {
    let mut found = Vec::new();
    for (place, chunk) in errors.chunks(size).enumerate() {
        let mut step = Moments::default();
        chunk.iter().for_each(|error| step.observe(*error, 1));
        if let Signal::Change(change) = detector.observe(place as i64, step) {
            found.push((place * size + chunk.len() - 1, change.direction));
        }
    }
    found
}

/// All of them; first those that others have.
pub(crate) fn contestants() -> Vec<Contestant> {
    let shared = |name, river, moa, new| Contestant { name, river: Some(river), moa: Some(moa), new };
    let rivers = |name, river, new| Contestant { name, river: Some(river), moa: None, new };
    let moas = |name, moa, new| Contestant { name, river: None, moa: Some(moa), new };
    let own = |name, new| Contestant { name, river: None, moa: None, new };
    vec![
        rivers("ADWIN, river's reset", "ADWIN", |_| steps(adwin(AfterChange::StartAfresh, 5), 1)),
        moas("ADWIN, rising only", "ADWINChangeDetector", |_| {
            Watcher::Rising(Box::new(adwin(AfterChange::DropOld, 7)))
        }),
        rivers("Page-Hinkley, plain", "PageHinkley", |_| steps(plain(PlainPageHinkleyPolicy::default()), 1)),
        moas("CUSUM, MOA's", "CusumDM", |_| Watcher::Rising(Box::new(plain(moa_cusum())))),
        rivers("DDM", "DDM", |_| ddm(DdmPolicy::default())),
        moas("DDM, MOA's count", "DDM", |_| ddm(DdmPolicy { warm_start: 28, ..Default::default() })),
        rivers("EDDM", "EDDM", |_| outcomes(Eddm::new(EddmPolicy::default()).unwrap())),
        shared("HDDM_A", "HDDM_A", "HDDM_A_Test", |_| outcomes(HddmA::new(HddmAPolicy::default()).unwrap())),
        shared("HDDM_W", "HDDM_W", "HDDM_W_Test", |_| outcomes(HddmW::new(HddmWPolicy::default()).unwrap())),
        own("ADWIN, paper", |_| steps(adwin(AfterChange::DropOld, 7), 1)),
        own("Page-Hinkley, reference", |before| steps(page_hinkley(reference(before)), 1)),
        own("Page-Hinkley, running", |_| steps(page_hinkley(Baseline::Running), 1)),
        own("CUSUM, single", |before| steps(cusum(before, RUN_LENGTH), 1)),
        own("CUSUM", |before| steps(cusum(before, RUN_LENGTH / STEP as f64), STEP)),
        own("EWMA", |before| steps(ewma(before, RUN_LENGTH / STEP as f64), STEP)),
        own("Shewhart", |before| steps(shewhart(before, RUN_LENGTH / STEP as f64), STEP)),
        own("e-detector, single", |before| steps(e_detector(known(before), RUN_LENGTH), 1)),
        own("e-detector", |before| steps(e_detector(known(before), RUN_LENGTH / STEP as f64), STEP)),
        own("e-detector, of 10,000", |before| steps(e_detector(learned(before), RUN_LENGTH / STEP as f64), STEP)),
    ]
}

fn steps(detector: impl SequentialDetector + 'static, size: usize) -> Watcher {
    Watcher::Steps(Box::new(detector), size)
}

fn outcomes(detector: impl OutcomeDetector + 'static) -> Watcher {
    Watcher::Outcomes(Box::new(detector))
}

fn adwin(after_change: AfterChange, min_part: u32) -> Adwin {
    Adwin::new(AdwinPolicy { after_change, min_part, ..Default::default() }).unwrap()
}

fn plain(policy: PlainPageHinkleyPolicy) -> PlainPageHinkley {
    PlainPageHinkley::new(policy).unwrap()
}

/// MOA's CUSUM is the plain test that forgets nothing and counts from one.
fn moa_cusum() -> PlainPageHinkleyPolicy {
    PlainPageHinkleyPolicy { alpha: 1.0, sides: Sides::Up, min_values: 29, ..Default::default() }
}

fn ddm(policy: DdmPolicy) -> Watcher {
    outcomes(Ddm::new(policy).unwrap())
}

fn page_hinkley(baseline: Baseline) -> PageHinkley {
    PageHinkley::new(PageHinkleyPolicy::default(), baseline).unwrap()
}

fn reference(share: f64) -> Baseline {
    Baseline::Reference { mean: share, standard_deviation: (share * (1.0 - share)).sqrt() }
}

/// Errors of a known share.
pub(crate) fn in_control(share: f64) -> InControl {
    InControl::known(share, (share * (1.0 - share)).sqrt()).unwrap()
}

pub(crate) fn cusum(share: f64, run_length: f64) -> Cusum {
    Cusum::new(CusumPolicy::with_run_length(0.5, run_length).unwrap(), in_control(share)).unwrap()
}

pub(crate) fn ewma(share: f64, run_length: f64) -> Ewma {
    Ewma::new(EwmaPolicy::with_run_length(0.1, run_length).unwrap(), in_control(share)).unwrap()
}

pub(crate) fn shewhart(share: f64, run_length: f64) -> Shewhart {
    Shewhart::new(ShewhartPolicy::with_run_length(run_length).unwrap(), in_control(share)).unwrap()
}

pub(crate) fn e_detector(unchanged: BoundedMean, run_length: f64) -> EDetector {
    EDetector::new(EDetectorPolicy { run_length, ..Default::default() }, unchanged).unwrap()
}

pub(crate) fn known(share: f64) -> BoundedMean {
    BoundedMean::known(Some(0.0), Some(1.0), share).unwrap()
}

/// A share that 10,000 outcomes have shown, with a confidence of 99 %.
pub(crate) fn learned(share: f64) -> BoundedMean {
    let sum = REFERENCE as f64 * share;
    BoundedMean::learned((0.0, 1.0), Moments { n: REFERENCE, sum, sum_sq: sum }, 0.99).unwrap()
}
