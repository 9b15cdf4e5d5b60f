//! Which versions of a model are told apart, and that the rest are counted under one name.
//!
//! Senders choose the names of versions. Each that is told apart has a plan, partials in every epoch, verdicts and series of
//! its own; a sender that puts a build's number or a request's id there would take what all models share. So in each
//! partition [`MOST_VERSIONS`] versions of a model have a place, first come, first served, and keep it until the watermark
//! has passed some windows without a row of theirs. Rows of others are counted under [`OTHER_VERSIONS`], and that is told. So are those
//! that came as that: the decoder tells a few dozen versions apart in one record.
//!
//! Who has a place follows from the partition's own records. What is read again after a restart changes nothing of that, and
//! belongs to the version that had its place by then.

use crate::watched::WatchedModel;
use codec::decode::OTHER_VERSIONS;
use detectors::windows::floor_to;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use streams::log::Offset;

/// The most versions of a model that are told apart at a time in a partition.
pub(super) const MOST_VERSIONS: usize = 32;

/// So many windows of the model's pass without a row before a version loses its place, beside those that are not judged yet.
const KEPT_WINDOWS: i64 = 4;

/// The versions of all models that have a place in a partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Versions {
    models: BTreeMap<String, BTreeMap<String, Held>>,
}

/// A place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Held {
    /// The offset of the record whose row was given it.
    since: Offset,
    /// It may be given to another once the watermark has passed this.
    until_ms: i64,
}

/// A row for which a place is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) model: &'a WatchedModel,
    pub(super) version: &'a str,
    pub(super) time_ms: i64,
    /// The partition's watermark before it.
    pub(super) watermark_ms: Option<i64>,
    pub(super) offset: Offset,
}

impl Versions {
    /// Whether the row's version has a place, which it is given where there is one.
    pub(super) fn admit(&mut self, asking: Asking<'_>) -> bool {
        let Asking { model, version, time_ms, watermark_ms, offset } = asking;
        if version == OTHER_VERSIONS {
            return false;
        }
        let is_late = watermark_ms.is_some_and(|at| time_ms < at);
        if !self.models.contains_key(&*model.name) {
            self.models.insert(model.name.to_string(), BTreeMap::new());
        }
        let Some(held) = self.models.get_mut(&*model.name) else { return false };
        if let Some(held) = held.get_mut(version) {
            held.until_ms = held.until_ms.max(kept_until_ms(model, time_ms));
            return true;
        }
        if is_late {
            return false;
        }
        if held.len() >= MOST_VERSIONS {
            held.retain(|_, held| watermark_ms.is_none_or(|at| held.until_ms >= at));
        }
        let has_place = held.len() < MOST_VERSIONS;
        if has_place {
            let until_ms = kept_until_ms(model, time_ms);
            held.insert(version.to_owned(), Held { since: offset, until_ms });
        }
        has_place
    }

    /// Whether a row of the record at `offset`, which is read again, belongs to its version.
    pub(super) fn had_place(&self, model: &str, version: &str, offset: Offset) -> bool {
        self.models.get(model).and_then(|held| held.get(version)).is_some_and(|held| held.since <= offset)
    }

    /// Whether a version has a place now.
    pub(super) fn has_place(&self, model: &str, version: &str) -> bool {
        self.models.get(model).is_some_and(|held| held.contains_key(version))
    }
}

/// Until its windows are judged, and some more have passed; in whole windows, so that a row seldom changes it.
fn kept_until_ms(model: &WatchedModel, time_ms: i64) -> i64 {
    let size_ms = model.windows.size_ms();
    let mature_ms = model.labels.as_ref().map_or(0, |labels| labels.mature_ms());
    floor_to(time_ms, size_ms).saturating_add((KEPT_WINDOWS + 1) * size_ms).saturating_add(mature_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    /// Asks for a row of this version at a time, where the watermark stands.
    fn asking<'a>(model: &'a WatchedModel, version: &'a str, time_ms: i64) -> Asking<'a> {
        Asking { model, version, time_ms, watermark_ms: Some(time_ms), offset: time_ms }
    }

    #[test]
    fn those_that_come_first_keep_their_places_while_they_have_rows_and_others_get_them_after() {
        let model = fixtures::watched();
        let (mut versions, after_ms) = (Versions::default(), 40_000);
        let exploding: Vec<_> = (1..MOST_VERSIONS).map(|number| number.to_string()).collect();
        for version in ["live"].into_iter().chain(exploding.iter().map(String::as_str)) {
            assert!(versions.admit(asking(&model, version, 1_000)), "{version}");
        }
        assert!(!versions.admit(asking(&model, "new", 1_000)), "all places are taken");
        for time_ms in (1_000..after_ms).step_by(1_000) {
            assert!(versions.admit(asking(&model, "live", time_ms)));
        }
        assert!(versions.admit(asking(&model, "new", after_ms)), "those without rows have left");
        assert!(versions.has_place(fixtures::MODEL, "live") && !versions.has_place(fixtures::MODEL, "1"));
        assert!(!versions.had_place(fixtures::MODEL, "new", after_ms - 1), "it was none when that was read");
        assert!(versions.had_place(fixtures::MODEL, "new", after_ms));
    }

    #[test]
    fn a_late_row_takes_no_place() {
        let model = fixtures::watched();
        let mut versions = Versions::default();
        assert!(!versions.admit(Asking { watermark_ms: Some(2_000), ..asking(&model, "old", 1_000) }));
        assert!(!versions.has_place(fixtures::MODEL, "old"));
    }
}
