//! How the champion does within an episode: its mean loss, and whether that is what its training promised.

use crate::evidence::Wealth;

/// By how much the mean loss may exceed what was promised, as a share of the largest loss, before it counts as broken.
const SLACK: f64 = 0.1;
/// The evidence at which a promise is broken: of so many champions that keep it, one is said to break it.
const BROKEN_AT: f64 = 1e-3;

/// The champion's losses so far.
#[derive(Debug, Default)]
pub(super) struct Standing {
    rows: f64,
    sum: f64,
    promise: Option<Promise>,
}

#[derive(Debug)]
struct Promise {
    loss: f64,
    wealth: Wealth,
    /// Start of the first span since the wealth was last no more than at the start.
    since_ms: Option<i64>,
}

impl Standing {
    /// A champion without a row, whose training promised this mean loss.
    pub(super) fn of_champion(promised: Option<f64>) -> Self {
        let promise = promised.map(|loss| Promise { loss, wealth: Wealth::default(), since_ms: None });
        Self { promise, ..Self::default() }
    }

    /// Takes in the losses of a span. Where they break the promise: since when.
    pub(super) fn observe(&mut self, span_start_ms: i64, losses: &[f64], dependence: f64) -> Option<i64> {
        self.rows += losses.len() as f64;
        self.sum += losses.iter().sum::<f64>();
        let promise = self.promise.as_mut().filter(|_| !losses.is_empty())?;
        let since_ms = *promise.since_ms.get_or_insert(span_start_ms);
        for loss in losses {
            promise.wealth.observe((loss - promise.loss - SLACK) / dependence.max(1.0));
        }
        if promise.wealth.refutes_at(BROKEN_AT) {
            return Some(since_ms);
        }
        // What went well before says nothing of what comes: the bet begins anew where it has lost.
        if promise.wealth.value() < 1.0 {
            (promise.wealth, promise.since_ms) = (Wealth::default(), None);
        }
        None
    }

    pub(super) fn rows(&self) -> f64 {
        self.rows
    }

    /// The mean loss; `None` before the first row.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.rows > 0.0).then(|| self.sum / self.rows)
    }

    /// The standard error of the mean loss, as of a loss of 0 or 1; no less than that of a tenth of them, for a mean of 0 on
    /// few rows is not known to be 0.
    pub(super) fn error(&self, dependence: f64) -> f64 {
        let mean = self.mean().unwrap_or(0.5).clamp(0.0, 1.0);
        (dependence.max(1.0) * (mean * (1.0 - mean)).max(0.01) / self.rows.max(1.0)).sqrt()
    }
}
