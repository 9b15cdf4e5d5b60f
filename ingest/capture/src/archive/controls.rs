//! What sources said of their event time, as far as it is archived.
//!
//! Of control records of one kind that follow each other with nothing between, only the latest time moves anything: of a
//! quiet partition's heartbeats one is left. It stands where that time was told, so that whoever reads a part of the offsets
//! from the archive and the rest from the topic is told it by one of them. Deliberately absent: records that cannot be read,
//! which move nothing.

use super::record::ArchivedControl;
use std::collections::BTreeMap;
use streams::control::Control;
use streams::log::{Offset, PartitionId, Record};

/// The control records of an archiving epoch.
#[derive(Debug, Default)]
pub(super) struct Controls(BTreeMap<(String, PartitionId), ControlTimes>);

#[derive(Debug, Default)]
struct ControlTimes {
    controls: Vec<(Offset, Control)>,
    /// Whether nothing has come since the last of them.
    goes_on: bool,
}

impl Controls {
    /// Takes the control records of these into account.
    pub(super) fn take_in(&mut self, (topic, partition): (&str, PartitionId), records: &[Record]) {
        let told = self.0.entry((topic.to_owned(), partition)).or_default();
        for record in records {
            match Control::read(record) {
                Some(Ok(control)) => told.push(record.offset, control),
                Some(Err(_)) => {}
                None => told.goes_on = false,
            }
        }
    }

    /// What has been told since the last call, partition by partition in log order.
    pub(super) fn take(&mut self) -> Vec<ArchivedControl> {
        let mut all = Vec::new();
        for ((topic, partition), told) in std::mem::take(&mut self.0) {
            let archived = |(offset, control)| ArchivedControl { topic: topic.clone(), partition, offset, control };
            all.extend(told.controls.into_iter().map(archived));
        }
        all
    }
}

impl ControlTimes {
    fn push(&mut self, offset: Offset, control: Control) {
        let last = if self.goes_on { self.controls.last_mut() } else { None };
        self.goes_on = true;
        match last.and_then(|last| Some((is_later(last.1, control)?, last))) {
            Some((true, last)) => *last = (offset, control),
            Some((false, _)) => {}
            None => self.controls.push((offset, control)),
        }
    }
}

/// Whether the second tells a later time than the first; `None` where they are of different kinds.
fn is_later(one: Control, other: Control) -> Option<bool> {
    match (one, other) {
        (Control::Heartbeat(one), Control::Heartbeat(other)) => Some(other > one),
        (Control::EndOfInput(one), Control::EndOfInput(other)) => Some(other > one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{as_stored, event, new_record};
    use streams::topics::INFERENCES;

    #[test]
    fn of_heartbeats_that_follow_each_other_the_latest_is_left_in_its_place() {
        let beat = |offset, time_ms| as_stored(Control::Heartbeat(time_ms).to_record(INFERENCES, 0), offset, 0);
        let end = as_stored(Control::EndOfInput(9).to_record(INFERENCES, 0), 7, 0);
        let row = as_stored(new_record(INFERENCES, 0, &event("a", 1, 1)), 4, 0);
        let mut controls = Controls::default();
        controls.take_in((INFERENCES, 0), &[beat(0, 5), beat(2, 8)]);
        controls.take_in((INFERENCES, 0), &[beat(3, 6), row, beat(5, 7), end]);
        let found: Vec<_> = controls.take().into_iter().map(|it| (it.offset, it.control)).collect();
        let expected = [(2, Control::Heartbeat(8)), (5, Control::Heartbeat(7)), (7, Control::EndOfInput(9))];
        assert_eq!(found, expected);
        assert_eq!(controls.take(), []);
    }
}
