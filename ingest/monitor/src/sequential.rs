//! The sequential detectors of a version: which there are, what each reads of a step, and which there cannot be.
//!
//! A detector that promises a run length is told by the reference alone what steps are without change. Where the
//! reference does not tell, there is no such detector, and each window says so. A detector goes on from its stored state
//! as long as it promises what it promised then; one that is to promise something else begins anew.
//!
//! CUSUM takes a step's mean loss for normal, which holds for steps of many rows only. Set to a rise in 21,600 steps, of
//! squared normal errors and a reference of 10,000 it raised one in 5,700 with five rows a step, in 13,700 with ten, in
//! 33,000 with twenty and in 118,000 with fifty; a reference of 100,000 and fifty rows a step gave one in 40,500 (all
//! simulated). So it asks for fifty. Losses with heavier tails need more, and of those it promises nothing.
//!
//! A detector with a promise is held against the reference for ever, and so finds a rise that lasts again and again. It is
//! told once: a rise found anew goes on from the last one if it begins no longer after that was found than it had taken.
//!
//! Only rises are found: an error that falls is no reason to act. What a detector promises counts its falls too, so that
//! its false alarms are fewer.

use capture::watched::WatchedModel;
use detectors::moments::{Moments, StepMoments};
use detectors::reference::Reference;
use detectors::sequential::{
    Adwin, AdwinPolicy, Baseline, BoundedMean, Change, Cusum, CusumPolicy, Direction, EDetector, EDetectorPolicy,
    InControl, PageHinkley, PageHinkleyPolicy, Reads, Sequential, SequentialDetector, SequentialError, Signal,
};
use detectors::windows::Window;
use serde::{Deserialize, Serialize};

/// A run length is kept for so many of a hundred references: as many hold the true error in the range learned from them.
const CONFIDENCE: f64 = 0.99;
/// Half the shift that CUSUM finds soonest, in standard errors of a step: the usual half.
const SLACK: f64 = 0.5;
/// The rows of a step at which CUSUM keeps what it promises.
const LEAST_ROWS_A_STEP: f64 = 50.0;

/// A detector with its state.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StepDetector {
    name: String,
    detector: Sequential,
    #[serde(default)]
    measure: Measure,
    /// The steps without change that it promises to pass before an alarm, on average.
    #[serde(default)]
    run_length: Option<f64>,
    #[serde(default)]
    last: Option<LastRise>,
}

/// The rise that was found last.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct LastRise {
    /// From its change point until it was found.
    took_ms: i64,
    /// Start of the first step with values since.
    next_step_ms: Option<i64>,
}

/// What is read of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
enum Measure {
    #[default]
    Error,
    Loss,
}

/// A detector that the reference does not support.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unsupported {
    pub(super) name: &'static str,
    pub(super) why: String,
}

/// A rise that a detector has found.
#[derive(Debug)]
pub(super) struct Rise {
    pub(super) name: String,
    pub(super) change: Change,
    /// Values in the step.
    pub(super) values: i64,
}

impl Measure {
    fn of(self, step: &StepMoments) -> Moments {
        match self {
            Self::Error => step.error,
            Self::Loss => step.loss,
        }
    }
}

impl StepDetector {
    /// Those that are turned on. Without a reference there is none that promises a run length.
    ///
    /// # Errors
    /// When a detector that asks nothing of the reference cannot be set up.
    pub(super) fn all(
        watched: &WatchedModel,
        reference: Option<&Reference>,
    ) -> Result<(Vec<Self>, Vec<Unsupported>), SequentialError> {
        let policy = watched.sequential;
        let steps = reference.and_then(Reference::steps);
        let mut detectors = Vec::new();
        if policy.adwin {
            let adwin = Adwin::new(AdwinPolicy::default())?;
            detectors.push(Self::unpromised("adwin(error)", Sequential::Adwin(adwin)));
        }
        if policy.page_hinkley {
            let baseline = steps.and_then(|steps| baseline(steps.total.error)).unwrap_or(Baseline::Running);
            let test = PageHinkley::new(PageHinkleyPolicy::default(), baseline)?;
            detectors.push(Self::unpromised("page_hinkley(error)", Sequential::PageHinkley(test)));
        }
        let mut unsupported = Vec::new();
        if let Some(reference) = reference {
            let e_detector = policy.e_detector.map(|run_length| Self::e_detector(run_length, reference));
            let cusum = policy.cusum.map(|run_length| Self::cusum(run_length, watched.step_ms, reference));
            for promised in e_detector.into_iter().chain(cusum) {
                promised.map_or_else(|not| unsupported.push(not), |detector| detectors.push(detector));
            }
        }
        Ok((detectors, unsupported))
    }

    /// These, each with its state among the stored ones.
    pub(super) fn resumed(fresh: Vec<Self>, mut stored: Vec<Self>) -> Vec<Self> {
        let resumed = fresh.into_iter().map(|fresh| {
            let same = |stored: &Self| stored.name == fresh.name && stored.run_length == fresh.run_length;
            stored.iter().position(same).map(|place| stored.swap_remove(place)).unwrap_or(fresh)
        });
        resumed.collect()
    }

    /// Takes the next step, and says whether what it reads has risen.
    pub(super) fn observe(&mut self, step: Window, moments: &StepMoments) -> Option<Rise> {
        let measured = self.measure.of(moments);
        if let Some(last) = self.last.as_mut().filter(|_| measured.n > 0) {
            last.next_step_ms.get_or_insert(step.start_ms);
        }
        let Signal::Change(change) = self.detector.observe(step.start_ms, measured) else { return None };
        if change.direction != Direction::Rising || (self.run_length.is_some() && self.goes_on(step, change)) {
            return None;
        }
        Some(Rise { name: self.name.clone(), change, values: measured.n })
    }

    /// Whether a rise is the last one still, which it then replaces.
    fn goes_on(&mut self, step: Window, change: Change) -> bool {
        let found = LastRise { took_ms: step.end_ms - change.change_point_ms, next_step_ms: None };
        let last = self.last.replace(found);
        let goes_on_from = last.and_then(|last| Some((last.next_step_ms?, last.took_ms)));
        goes_on_from.is_some_and(|(next_step_ms, took_ms)| change.change_point_ms - next_step_ms <= took_ms)
    }

    fn unpromised(name: &str, detector: Sequential) -> Self {
        Self { name: name.to_owned(), detector, measure: Measure::Error, run_length: None, last: None }
    }

    fn e_detector(run_length: f64, reference: &Reference) -> Result<Self, Unsupported> {
        const NAME: &str = "e_detector(error)";
        let detector = learned_from(NAME, reference, Measure::Error).and_then(|errors| {
            let unchanged = BoundedMean::learned((0.0, 1.0), errors, CONFIDENCE);
            let policy = EDetectorPolicy { run_length, reads: Reads::Values };
            unchanged.and_then(|unchanged| EDetector::new(policy, unchanged)).map_err(unsupported(NAME))
        })?;
        let detector = Sequential::EDetector(detector);
        Ok(Self { name: NAME.to_owned(), detector, measure: Measure::Error, run_length: Some(run_length), last: None })
    }

    fn cusum(run_length: f64, step_ms: i64, reference: &Reference) -> Result<Self, Unsupported> {
        const NAME: &str = "cusum(loss)";
        let chart = learned_from(NAME, reference, Measure::Loss).and_then(|losses| {
            check_steps(NAME, reference, (losses, step_ms))?;
            let in_control = in_control(losses).map_err(unsupported(NAME))?;
            let policy = CusumPolicy::with_run_length(SLACK, run_length).map_err(unsupported(NAME))?;
            Cusum::new(policy, in_control).map_err(unsupported(NAME))
        })?;
        let detector = Sequential::Cusum(chart);
        Ok(Self { name: NAME.to_owned(), detector, measure: Measure::Loss, run_length: Some(run_length), last: None })
    }
}

/// The reference's values, if it has any.
fn learned_from(name: &'static str, reference: &Reference, measure: Measure) -> Result<Moments, Unsupported> {
    let values = reference.steps().map(|steps| measure.of(&steps.total));
    values.filter(|values| values.n > 0).ok_or_else(|| {
        let what = match measure {
            Measure::Error => "an error",
            Measure::Loss => "a loss",
        };
        Unsupported { name, why: format!("the reference has no labelled row with {what}") }
    })
}

/// Refuses steps whose means are not near enough to normal. Only panes with rows have steps.
fn check_steps(
    name: &'static str,
    reference: &Reference,
    (values, step_ms): (Moments, i64),
) -> Result<(), Unsupported> {
    let panes = reference.slices().first().map_or(1, |all| all.panes.len().max(1));
    let steps = panes as f64 * reference.windows().pane_ms() as f64 / step_ms as f64;
    let rows = values.n as f64 / steps;
    if rows >= LEAST_ROWS_A_STEP {
        return Ok(());
    }
    let why = format!(
        "a step of the reference holds {rows:.0} labelled rows, and the run length needs {LEAST_ROWS_A_STEP}: lengthen `step`"
    );
    Err(Unsupported { name, why })
}

fn unsupported(name: &'static str) -> impl Fn(SequentialError) -> Unsupported {
    move |error| Unsupported { name, why: error.to_string() }
}

fn in_control(values: Moments) -> Result<InControl, SequentialError> {
    let (mean, variance) = (values.mean().unwrap_or(f64::NAN), values.variance().unwrap_or(f64::NAN));
    InControl::learned(mean, variance.sqrt(), values.n.unsigned_abs())
}

fn baseline(errors: Moments) -> Option<Baseline> {
    let standard_deviation = errors.variance()?.sqrt();
    (standard_deviation > 0.0).then_some(Baseline::Reference { mean: errors.mean()?, standard_deviation })
}
