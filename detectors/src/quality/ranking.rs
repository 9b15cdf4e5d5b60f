//! Which segments lost the most quality: the difference of each to its own reference, weighed by its share of the rows.
//!
//! A segment of a tenth of the rows that lost five points costs the model half a point; it stands above one of a
//! hundredth that lost twenty. Nothing is judged here: whether a loss is more than noise is told by its standard error.
//!
//! Deliberately absent: segments that one side lacks. Without both there is no difference, and they are left out.

use super::{Headline, MetricDirection, Quality};
use crate::verdict::{Estimate, Segment};
use serde::{Deserialize, Serialize};

/// A segment's labelled rows in the reference and in the window.
#[derive(Debug, Clone, Copy)]
pub struct SegmentQuality<'a> {
    /// The segment.
    pub segment: &'a Segment,
    /// Its rows in the reference.
    pub reference: &'a Quality,
    /// Its rows in the window.
    pub current: &'a Quality,
}

/// How much quality a segment lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentLoss {
    /// The segment.
    pub segment: Segment,
    /// The metric's name: accuracy of a classifier, `mae` of a regression.
    pub metric: String,
    /// How much worse the metric is than in the segment's reference, in its own units; negative where it is better.
    pub loss: Estimate,
    /// The segment's share of the window's labelled rows, in [0, 1].
    pub share: f64,
    /// What the loss costs the model as a whole: `loss × share`.
    pub contribution: Estimate,
}

/// Segments by what their loss costs, the costliest first; `labelled` is how many labelled rows the whole window has.
///
/// # Formula
/// `contribution = share · (reference − current)`, with the sign turned for errors, so that more is worse. The standard
/// error is `share · √(se² of the reference + se² of the window)`, the share taken as given. Segments of equal
/// contribution stand in the order of their names. Of segments that overlap, contributions do not add up.
pub fn rank_by_loss(segments: &[SegmentQuality<'_>], labelled: i64) -> Vec<SegmentLoss> {
    let mut losses: Vec<_> = segments.iter().filter_map(|segment| loss_of(segment, labelled)).collect();
    losses
        .sort_by(|a, b| b.contribution.value.total_cmp(&a.contribution.value).then_with(|| a.segment.cmp(&b.segment)));
    losses
}

fn loss_of(segment: &SegmentQuality<'_>, labelled: i64) -> Option<SegmentLoss> {
    let (before, now) = (segment.reference.headline()?, segment.current.headline()?);
    if before.name != now.name || labelled <= 0 {
        return None;
    }
    let loss = worsening(&before, &now);
    let share = (segment.current.labelled() as f64 / labelled as f64).clamp(0.0, 1.0);
    let contribution =
        Estimate { value: share * loss.value, standard_error: loss.standard_error.map(|error| share * error) };
    Some(SegmentLoss { segment: segment.segment.clone(), metric: before.name.to_owned(), loss, share, contribution })
}

fn worsening(before: &Headline, now: &Headline) -> Estimate {
    let difference = before.value.value - now.value.value;
    let value = match before.direction {
        MetricDirection::HigherIsBetter => difference,
        MetricDirection::LowerIsBetter => -difference,
    };
    let errors = before.value.standard_error.zip(now.value.standard_error);
    Estimate { value, standard_error: errors.map(|(before, now)| before.hypot(now)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::Outcomes;
    use crate::schema::Task;
    use arrow::array::{ArrayRef, Int8Array, StringArray};
    use std::sync::Arc;

    fn quality(right: usize, wrong: usize) -> Quality {
        let task = Task::Binary { positive: "yes".to_owned(), negative: "no".to_owned() };
        let label: ArrayRef = Arc::new(StringArray::from(vec!["yes"; right + wrong]));
        let answers = [vec!["yes"; right], vec!["no"; wrong]].concat();
        let prediction: ArrayRef = Arc::new(StringArray::from(answers));
        let sign = Int8Array::from(vec![1; right + wrong]);
        let mut quality = Quality::empty(&task);
        let outcomes = Outcomes { task: &task, prediction: &prediction, scores: &[], label: &label, sign: &sign };
        quality.observe(&outcomes).unwrap();
        quality
    }

    #[test]
    fn segments_are_ranked_by_what_their_loss_costs_the_whole() {
        let names = ["big", "small", "better", "empty"]
            .map(|value| Segment { dimension: "region".to_owned(), value: value.to_owned() });
        let reference = [quality(90, 10), quality(90, 10), quality(90, 10), quality(0, 0)];
        let current = [quality(680, 120), quality(70, 30), quality(98, 2), quality(5, 5)];
        let sides = names.iter().zip(&reference).zip(&current);
        let segments: Vec<_> =
            sides.map(|((segment, reference), current)| SegmentQuality { segment, reference, current }).collect();
        let ranked = rank_by_loss(&segments, 1000);
        let order: Vec<&str> = ranked.iter().map(|loss| loss.segment.value.as_str()).collect();
        assert_eq!(order, ["big", "small", "better"]);
        assert!((ranked[0].contribution.value - 0.8 * 0.05).abs() < 1e-12);
        assert!((ranked[1].loss.value - 0.2).abs() < 1e-12);
        assert!(ranked.iter().all(|loss| loss.contribution.standard_error.is_some_and(|error| error > 0.0)));
        assert!(rank_by_loss(&segments, 0).is_empty());
    }
}
