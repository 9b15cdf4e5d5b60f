//! Labels: joined to their predictions in log order, and let go of when they can match nothing any more.

use super::Capture;
use super::input::Source;
use super::rows::{LabelRows, in_log_order};
use crate::join::{Label, Need, label_at};
use crate::partial::EventCounts;
use codec::decode::LabelBatch;
use detectors::windows::Timeliness;
use std::sync::Arc;
use streams::log::PartitionId;
use streams::stage::StageError;

impl Capture {
    /// Takes the labels in log order, whichever models they belong to.
    pub(super) fn labels(&mut self, partition: PartitionId, batches: &[LabelBatch]) -> Result<(), StageError> {
        let mut prepared = batches.iter().map(|batch| LabelRows::new(&batch.batch)).collect::<Result<Vec<_>, _>>()?;
        let logs: Vec<_> = prepared.iter().map(|rows| &rows.log).collect();
        for (index, run) in in_log_order(&logs) {
            let (Some(batch), Some(rows)) = (batches.get(index), prepared.get_mut(index)) else { continue };
            run.into_iter().try_for_each(|row| self.label(partition, &batch.model, rows, row))?;
        }
        for (batch, rows) in batches.iter().zip(prepared) {
            self.waiting_outcomes += rows.counts.labelled + rows.counts.relabelled;
            self.input(Source::Labels, partition).counts(&batch.model).add(&rows.counts);
        }
        self.misplaced.tell(Source::Labels);
        Ok(())
    }

    fn label(
        &mut self,
        partition: PartitionId,
        model: &str,
        rows: &mut LabelRows,
        row: usize,
    ) -> Result<(), StageError> {
        let (time_ms, offset) = (rows.log.times.value(row), rows.log.place(row).0);
        let input = self.input(Source::Labels, partition);
        let watermark_ms = input.watermark.at_ms();
        let timeliness = input.observe(offset, time_ms, rows.log.appended.value(row));
        rows.counts.produced += 1;
        rows.counts.late += i64::from(timeliness == Timeliness::Late);
        rows.counts.future += i64::from(timeliness == Timeliness::Future);
        let id = rows.log.ids.value(row);
        rows.counts.misplaced += self.misplaced.count(Source::Labels, id, partition);
        if let Some(join) = self.models.get_mut(model).and_then(|model| model.join(partition))
            && let Some(value) = label_at(&rows.labels, row)
        {
            let time_ms = watermark_ms.map_or(time_ms, |at| at.max(time_ms));
            let matched = join
                .label(id, Label { value, time_ms, watermark_ms, offset })
                .map_err(|error| StageError::failed(format!("joining labels of {model}"), error))?;
            matched.into_iter().for_each(|matched| rows.counts.match_label(matched));
        }
        Ok(())
    }

    /// Lets go of ids that can no longer be matched.
    pub(super) fn pass(&mut self, partition: PartitionId) -> Result<(), StageError> {
        let inference_ms = self.watermark(Source::Inferences, partition);
        let label_ms = self.watermark(Source::Labels, partition);
        if let Some(seen) = self.seen.get_mut(&partition) {
            seen.pass(inference_ms);
        }
        let (mut counted, mut needs) = (Vec::new(), Vec::new());
        for (name, model) in &mut self.models {
            let Some(join) = model.joins.get_mut(&partition) else { continue };
            needs.extend(join.take_needs());
            let passed = join.pass(inference_ms, label_ms).map_err(|error| {
                StageError::failed(format!("letting go of ids of {name} in partition {partition}"), error)
            })?;
            let labelled = passed.declared;
            let counts =
                EventCounts { expired: passed.expired, orphaned: passed.orphaned, labelled, ..EventCounts::default() };
            if counts != EventCounts::default() {
                counted.push((Arc::clone(name), counts));
            }
        }
        for (name, counts) in counted {
            self.input(Source::Labels, partition).counts(&name).add(&counts);
        }
        for need in needs {
            match need {
                Need::Prediction { offset, until_ms } => {
                    self.input(Source::Inferences, partition).keep(offset, until_ms);
                }
                Need::Label { offset, until_ms } => self.input(Source::Labels, partition).keep(offset, until_ms),
            }
        }
        Ok(())
    }
}
