//! All values of one column of a file, in the order of its rows.

use crate::compare::CompareError;
use crate::files::Files;
use crate::files::typed::{self, Wanted};
use anyhow::Result;
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Float64Type;
use detectors::schema::{ColumnKind, ColumnSchema};
use detectors::statistics::CategorySample;
use std::collections::{BTreeSet, HashMap};

/// The most values of one file's column that are held at once. So many different numbers on both sides were measured to take
/// 1.1 GB with Evidently's test, which makes copies, and .4 GB with NannyML's.
pub const MOST_VALUES: usize = 10_000_000;

/// Different whole numbers up to which Evidently takes a column for categories.
const FEW_INTEGERS: usize = 10;

/// The values of one column.
#[derive(Debug)]
pub(super) enum Values {
    /// Numbers; a missing one is NaN, as the tools drop both.
    Numbers(Vec<f64>),
    /// Categories.
    Categories(Names),
}

/// Names, each kept once, and for each row which it is.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<String>,
    places: HashMap<String, u32>,
    rows: Vec<Option<u32>>,
}

impl Values {
    pub(super) fn read(files: &Files, schema: &ColumnSchema) -> Result<Self> {
        let wanted = [Wanted { from: schema.name.clone(), name: schema.name.clone(), kind: schema.kind }];
        let mut values = match schema.kind {
            ColumnKind::Numeric => Self::Numbers(Vec::new()),
            ColumnKind::Categorical => Self::Categories(Names::default()),
        };
        let file = files.name();
        for rows in files.open_columns(&[&schema.name])? {
            for column in typed::columns(&file, &rows?, &wanted)?.columns() {
                values.extend(column);
            }
            if values.len() > MOST_VALUES {
                let column = schema.name.clone();
                return Err(CompareError::TooManyValues { file, column, most: MOST_VALUES }.into());
            }
        }
        Ok(values)
    }

    fn extend(&mut self, column: &ArrayRef) {
        match self {
            Self::Numbers(numbers) => {
                let values = column.as_primitive_opt::<Float64Type>().into_iter().flatten();
                numbers.extend(values.map(|value| value.unwrap_or(f64::NAN)));
            }
            Self::Categories(names) => {
                let values = column.as_string_opt::<i32>().into_iter().flatten();
                values.for_each(|name| names.push(name));
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Categories(names) => names.rows.len(),
        }
    }

    pub(super) fn rows(&self) -> i64 {
        self.len() as i64
    }

    /// Whether these are whole numbers, none of them missing, of few different values.
    pub(super) fn is_integer_of_few_values(&self) -> bool {
        let Self::Numbers(numbers) = self else { return false };
        let mut seen = BTreeSet::new();
        !numbers.is_empty()
            && numbers.iter().all(|number| {
                number.fract() == 0.0 && {
                    seen.insert((number + 0.0).to_bits());
                    seen.len() <= FEW_INTEGERS
                }
            })
    }

    /// Whether more than half of the values are different, as of text that people wrote.
    pub(super) fn is_text(&self) -> bool {
        let Self::Categories(Names { names, rows, .. }) = self else { return false };
        2 * names.len() > rows.iter().flatten().count()
    }
}

impl Names {
    fn push(&mut self, name: Option<&str>) {
        let place = name.map(|name| match self.places.get(name) {
            Some(place) => *place,
            None => {
                let place = self.names.len() as u32;
                self.names.push(name.to_owned());
                self.places.insert(name.to_owned(), place);
                place
            }
        });
        self.rows.push(place);
    }

    pub(super) fn sample(&self) -> CategorySample {
        self.sample_of(&self.rows)
    }

    /// The samples of so many consecutive rows each; the last may be shorter.
    pub(super) fn chunks(&self, rows: usize) -> impl Iterator<Item = CategorySample> {
        self.rows.chunks(rows.max(1)).map(|chunk| self.sample_of(chunk))
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    fn sample_of(&self, rows: &[Option<u32>]) -> CategorySample {
        let name = |place: u32| self.names.get(place as usize).map(String::as_str);
        CategorySample::new(rows.iter().map(|place| place.and_then(name)))
    }
}
