//! Profiles: what a pane, a window or a reference holds of its columns, as counts that add up.
//!
//! Invariants. Every row is counted exactly once in every column, each odd value under its own name. Merging adds
//! integers, so its order changes nothing; the few floats (moments, tail distances, extremes) agree to rounding. A
//! profile makes sense only beside the layouts it was counted against: the caller keeps those of one reference together.
//!
//! Nothing here keeps a raw value, but for the least and the greatest number of a column.

mod batch;
mod categorical;
mod distinct;
mod numeric;
mod packed;
mod sparse;

pub use batch::Observed;
pub use categorical::CategoricalProfile;
pub use distinct::DistinctCount;
pub use numeric::NumericProfile;
pub use packed::PackedProfile;

use crate::layout::{ColumnLayout, LANES};
use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::UInt16Type;
use batch::{Batch, Values};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use thiserror::Error;

/// Why rows could not be counted, or profiles not be added.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ProfileError {
    /// The batch, the layouts and the profile do not have the same columns.
    #[error("{what} has {found} columns, the reference {expected}: decode with the reference's schema")]
    ColumnCount {
        /// What was looked at.
        what: &'static str,
        /// How many columns the layouts have.
        expected: usize,
        /// How many were found.
        found: usize,
    },
    /// A column of another type than its layout counts.
    #[error("column {place} is {found}, its layout is {expected}: decode with the reference's schema")]
    ColumnType {
        /// Place in the schema's order.
        place: usize,
        /// Kind of the layout.
        expected: &'static str,
        /// Type of the array.
        found: String,
    },
    /// The list of wrongly typed values is of another type.
    #[error("the wrong_type column is {found}; it must be a list of UInt16")]
    WrongTypeColumn {
        /// Its type.
        found: String,
    },
    /// Columns of one batch differ in length.
    #[error("{what} has {found} rows, the batch {expected}")]
    RowCount {
        /// What was looked at.
        what: &'static str,
        /// Rows of the batch.
        expected: usize,
        /// Rows found.
        found: usize,
    },
    /// A row of a group that has no profile.
    #[error("a row belongs to group {group}, but there are only {profiles} profiles")]
    NoSuchGroup {
        /// The group.
        group: usize,
        /// How many profiles were given.
        profiles: usize,
    },
    /// Rows that could not be brought into the order of their groups.
    #[error("the rows could not be ordered by group: {reason}; give smaller batches")]
    Reorder {
        /// What arrow said.
        reason: String,
    },
    /// Two profiles that were counted against different layouts.
    #[error("column {place} was counted against another layout: profiles of different references never merge")]
    LayoutMismatch {
        /// Place in the schema's order.
        place: usize,
    },
    /// A profile that could not be brought into bytes or back.
    #[error("a profile cannot be packed: {reason}; learn the reference again")]
    Packing {
        /// What the encoder or the decoder said.
        reason: String,
    },
    /// A part that holds more than the whole it is taken from.
    #[error("column {place} of the part holds more than the whole it is to be taken from")]
    NotAPart {
        /// Place in the schema's order.
        place: usize,
    },
}

/// A kind of odd value, whose share is watched as a matter of data quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No value.
    Null,
    /// Not a number.
    Nan,
    /// Plus or minus infinity.
    Infinite,
    /// A value whose type did not fit the column.
    WrongType,
    /// A number below or above everything in the reference.
    OutOfRange,
    /// A category that the reference does not have.
    Unseen,
}

impl Fault {
    /// Every kind, in the order in which results are listed.
    pub const ALL: [Self; 6] = [Self::Null, Self::Nan, Self::Infinite, Self::WrongType, Self::OutOfRange, Self::Unseen];

    /// The name of the test that watches it.
    pub fn test_name(self) -> &'static str {
        match self {
            Self::Null => "null_share",
            Self::Nan => "nan_share",
            Self::Infinite => "infinite_share",
            Self::WrongType => "wrong_type_share",
            Self::OutOfRange => "out_of_range_share",
            Self::Unseen => "unseen_share",
        }
    }
}

/// The counts of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ColumnProfile {
    /// Of numbers.
    Numeric(NumericProfile),
    /// Of categories.
    Categorical(CategoricalProfile),
}

impl ColumnProfile {
    /// A profile without rows.
    pub fn empty(layout: &ColumnLayout) -> Self {
        match layout {
            ColumnLayout::Numeric(bins) => Self::Numeric(NumericProfile::empty(bins)),
            ColumnLayout::Categorical(table) => Self::Categorical(CategoricalProfile::empty(table)),
        }
    }

    /// Every row, whatever its value.
    pub fn rows(&self) -> i64 {
        match self {
            Self::Numeric(numeric) => numeric.rows(),
            Self::Categorical(categorical) => categorical.rows(),
        }
    }

    /// What rows to come are distributed as, where that is not what these have: of a column whose categories were chosen out
    /// of more, and so are more frequent where they were chosen. `whole` are the counts of all rows that the layout was learned
    /// from, of which these are a part or all. `None` where nothing was chosen, or by other rows.
    pub fn fresh(&self, layout: &ColumnLayout, whole: &Self) -> Option<Self> {
        match (self, layout, whole) {
            (Self::Categorical(part), ColumnLayout::Categorical(table), Self::Categorical(whole)) => {
                part.fresh(table, whole).map(Self::Categorical)
            }
            _ => None,
        }
    }

    /// How many rows hold this kind of odd value; `None` where the column cannot hold it.
    pub fn count_of(&self, fault: Fault) -> Option<i64> {
        match self {
            Self::Numeric(numeric) => numeric.count_of(fault),
            Self::Categorical(categorical) => categorical.count_of(fault),
        }
    }

    /// The share of rows with this kind of odd value, in `[0, 1]`; `None` where there are no rows or the column cannot
    /// hold it.
    pub fn share_of(&self, fault: Fault) -> Option<f64> {
        let rows = self.rows();
        let count = self.count_of(fault)?;
        (rows > 0).then(|| count as f64 / rows as f64)
    }

    /// Whether all rows that have a value have the same one.
    pub fn is_constant(&self) -> bool {
        match self {
            Self::Numeric(numeric) => numeric.least().is_some() && numeric.least() == numeric.greatest(),
            Self::Categorical(categorical) => categorical.is_constant(),
        }
    }

    /// The share of the most frequent value among the rows that have one, or of the fullest bin where values are many;
    /// `None` where no row has a value.
    pub fn most_frequent_share(&self) -> Option<f64> {
        let counts = match self {
            Self::Numeric(numeric) => numeric.fine(),
            Self::Categorical(categorical) => categorical.known(),
        };
        let (most, all) = (counts.iter().max()?, counts.iter().sum::<i64>());
        (all > 0).then(|| *most as f64 / all as f64)
    }

    /// How many different values there are, about; `None` for numbers.
    pub fn distinct(&self) -> Option<f64> {
        match self {
            Self::Numeric(_) => None,
            Self::Categorical(categorical) => Some(categorical.distinct()),
        }
    }

    /// Every count, in a fixed order that [`Self::recounted`] understands.
    pub(crate) fn counts(&self) -> Vec<i64> {
        match self {
            Self::Numeric(numeric) => numeric.counts(),
            Self::Categorical(categorical) => categorical.counts(),
        }
    }

    /// The same column in fewer bins, each coarse one made of at most `parts`; a categorical one as it is. `None` where the
    /// layout is of another kind.
    pub(crate) fn thinned(&self, layout: &ColumnLayout, parts: usize) -> Option<(ColumnLayout, Self)> {
        match (self, layout) {
            (Self::Numeric(numeric), ColumnLayout::Numeric(bins)) => {
                let (bins, numeric) = numeric.thinned(bins, parts);
                Some((ColumnLayout::Numeric(Arc::new(bins)), Self::Numeric(numeric)))
            }
            (Self::Categorical(_), ColumnLayout::Categorical(_)) => Some((layout.clone(), self.clone())),
            _ => None,
        }
    }

    /// The same column with other counts, as a resampling draws them; sums of values follow from where the values of each
    /// bin lie. `None` where the layout is of another kind.
    pub(crate) fn recounted(&self, layout: &ColumnLayout, counts: &[i64]) -> Option<Self> {
        match (self, layout) {
            (Self::Numeric(numeric), ColumnLayout::Numeric(bins)) => {
                Some(Self::Numeric(numeric.recounted(bins, counts)))
            }
            (Self::Categorical(categorical), ColumnLayout::Categorical(_)) => {
                Some(Self::Categorical(categorical.recounted(counts)))
            }
            _ => None,
        }
    }

    fn merge(&mut self, other: &Self) -> Option<()> {
        match (self, other) {
            (Self::Numeric(numeric), Self::Numeric(other)) => numeric.merge(other),
            (Self::Categorical(categorical), Self::Categorical(other)) => categorical.merge(other),
            _ => None,
        }
    }

    fn subtract(&mut self, part: &Self) -> Option<()> {
        match (self, part) {
            (Self::Numeric(numeric), Self::Numeric(part)) => numeric.subtract(part),
            (Self::Categorical(categorical), Self::Categorical(part)) => categorical.subtract(part),
            _ => None,
        }
    }
}

/// The counts of every column over the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    rows: i64,
    columns: Vec<ColumnProfile>,
}

impl Profile {
    /// A profile without rows.
    pub fn empty(layouts: &[ColumnLayout]) -> Self {
        Self { rows: 0, columns: layouts.iter().map(ColumnProfile::empty).collect() }
    }

    /// How many rows were counted.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// The columns in the schema's order.
    pub fn columns(&self) -> &[ColumnProfile] {
        &self.columns
    }

    /// Counts every row of a batch.
    ///
    /// # Errors
    /// When the batch does not have the layouts' columns; then nothing was counted.
    pub fn observe(
        &mut self,
        layouts: &[ColumnLayout],
        columns: &[ArrayRef],
        wrong_type: &ArrayRef,
    ) -> Result<(), ProfileError> {
        let batch = Batch::read(&Observed { layouts, columns, wrong_type })?;
        self.check_columns(layouts)?;
        self.count(&batch, 0..batch.rows);
        Ok(())
    }

    /// Adds the rows of another profile that was counted against the same layouts.
    ///
    /// # Errors
    /// When the layouts differ; then `self` is not to be used any more.
    pub fn merge(&mut self, other: &Self) -> Result<(), ProfileError> {
        self.check_width(other)?;
        for (place, (column, other)) in self.columns.iter_mut().zip(&other.columns).enumerate() {
            column.merge(other).ok_or(ProfileError::LayoutMismatch { place })?;
        }
        self.rows += other.rows;
        Ok(())
    }

    /// What is left when the rows of `part`, which are among this profile's own, are taken away.
    ///
    /// Extremes and the number of different rare values stay those of the whole: they cannot be taken back.
    ///
    /// # Errors
    /// When the layouts differ or `part` holds more than the whole.
    pub fn without(&self, part: &Self) -> Result<Self, ProfileError> {
        self.check_width(part)?;
        let mut rest = self.clone();
        for (place, (column, part)) in rest.columns.iter_mut().zip(&part.columns).enumerate() {
            column.subtract(part).ok_or(ProfileError::NotAPart { place })?;
        }
        rest.rows -= part.rows;
        Ok(rest)
    }

    /// Whether the profile could have been counted against these layouts.
    ///
    /// # Errors
    /// When it could not; the error names the column.
    pub fn check_columns(&self, layouts: &[ColumnLayout]) -> Result<(), ProfileError> {
        let (expected, found) = (layouts.len(), self.columns.len());
        if expected != found {
            return Err(ProfileError::ColumnCount { what: "the profile", expected, found });
        }
        for (place, (column, layout)) in self.columns.iter().zip(layouts).enumerate() {
            let fits = match (column, layout) {
                (ColumnProfile::Numeric(numeric), ColumnLayout::Numeric(bins)) => numeric.fits(bins),
                (ColumnProfile::Categorical(categorical), ColumnLayout::Categorical(table)) => categorical.fits(table),
                _ => false,
            };
            if !fits {
                return Err(ProfileError::LayoutMismatch { place });
            }
        }
        Ok(())
    }

    fn check_width(&self, other: &Self) -> Result<(), ProfileError> {
        let (expected, found) = (self.columns.len(), other.columns.len());
        if expected == found {
            return Ok(());
        }
        Err(ProfileError::ColumnCount { what: "the other profile", expected, found })
    }

    fn count(&mut self, batch: &Batch<'_>, rows: Range<usize>) {
        self.rows += rows.len() as i64;
        for (column, values) in self.columns.iter_mut().zip(&batch.columns) {
            match (column, values) {
                (ColumnProfile::Numeric(numeric), Values::Numeric(bins, array)) => {
                    numeric.observe(bins, array, rows.clone());
                }
                (ColumnProfile::Categorical(categorical), Values::Categorical(table, array)) => {
                    categorical.observe(table, array, rows.clone());
                }
                _ => debug_assert!(false, "check_columns has matched the kinds"),
            }
        }
        if let Some(wrong_type) = &batch.wrong_type {
            self.rename_wrong_types(batch, wrong_type, rows);
        }
    }

    /// Moves values that are null because their type did not fit from the nulls to the wrongly typed.
    fn rename_wrong_types(&mut self, batch: &Batch<'_>, wrong_type: &ListArray, rows: Range<usize>) {
        for row in rows {
            if wrong_type.is_null(row) {
                continue;
            }
            let places = wrong_type.value(row);
            let places = places.as_primitive::<UInt16Type>().values();
            for (seen, place) in places.iter().enumerate() {
                let column = usize::from(*place);
                let is_null = batch.columns.get(column).is_some_and(|values| values.is_null(row));
                if !is_null || places.iter().take(seen).any(|earlier| earlier == place) {
                    continue;
                }
                match self.columns.get_mut(column) {
                    Some(ColumnProfile::Numeric(numeric)) => numeric.null_was_wrong_type(),
                    Some(ColumnProfile::Categorical(categorical)) => categorical.null_was_wrong_type(),
                    None => {}
                }
            }
        }
    }
}

/// Counts each row of a batch in the profile of its group: `groups[row]` is the place of a profile.
///
/// Neighbouring rows of one group are counted together, so a batch of one group, or one sorted by group, costs no more
/// than a single profile would. Where groups alternate, the rows are first brought into the order of their groups.
///
/// # Errors
/// When the batch does not have the layouts' columns or a row's group has no profile; then nothing was counted.
pub fn observe_groups(profiles: &mut [Profile], groups: &[usize], observed: &Observed<'_>) -> Result<(), ProfileError> {
    let rows = observed.wrong_type.len();
    if groups.len() != rows {
        return Err(ProfileError::RowCount { what: "the list of groups", expected: rows, found: groups.len() });
    }
    if let Some(group) = groups.iter().copied().find(|group| *group >= profiles.len()) {
        return Err(ProfileError::NoSuchGroup { group, profiles: profiles.len() });
    }
    for profile in profiles.iter() {
        profile.check_columns(observed.layouts)?;
    }
    let batch = Batch::read(observed)?;
    if groups.chunk_by(|a, b| a == b).count() * LANES <= rows {
        count_runs(profiles, groups, &batch);
        return Ok(());
    }
    let mut order: Vec<u32> = (0..rows as u32).collect();
    order.sort_by_key(|row| groups.get(*row as usize));
    let sorted: Vec<usize> = order.iter().filter_map(|row| groups.get(*row as usize).copied()).collect();
    count_runs(profiles, &sorted, &batch.reordered(order)?);
    Ok(())
}

/// Counts each run of rows of one group in its profile.
fn count_runs(profiles: &mut [Profile], groups: &[usize], batch: &Batch<'_>) {
    let mut start = 0;
    for run in groups.chunk_by(|a, b| a == b) {
        let end = start + run.len();
        if let Some(profile) = run.first().and_then(|group| profiles.get_mut(*group)) {
            profile.count(batch, start..end);
        }
        start = end;
    }
}

#[cfg(test)]
mod tests;
