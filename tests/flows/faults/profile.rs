//! The counts of a profile: the integers that must be the same however the rows came to be counted.

use detectors::layout::ColumnLayout;
use detectors::profile::{ColumnProfile, Profile};

/// Every count, column by column.
pub(super) fn counts(profile: &Profile) -> Vec<i64> {
    let mut counts = vec![profile.rows()];
    for column in profile.columns() {
        match column {
            ColumnProfile::Numeric(numeric) => {
                counts.extend([numeric.below(), numeric.above(), numeric.null(), numeric.nan(), numeric.wrong_type()]);
                counts.extend(numeric.fine());
            }
            ColumnProfile::Categorical(categories) => {
                counts.extend([categories.other(), categories.unseen(), categories.null(), categories.wrong_type()]);
                counts.extend(categories.known());
            }
        }
    }
    counts
}

/// What is counted of a pane, merged from what was counted of its parts.
pub(super) fn merged<'a>(layouts: &[ColumnLayout], parts: impl IntoIterator<Item = &'a Profile>) -> Vec<i64> {
    let mut whole = Profile::empty(layouts);
    parts.into_iter().for_each(|part| whole.merge(part).unwrap());
    counts(&whole)
}
