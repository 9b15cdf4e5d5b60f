//! The parameters of the builtin trainer, read from the job's strings.

use crate::trainer::TrainingError;
use std::collections::BTreeMap;
use std::str::FromStr;

/// What may be set for a builtin training, and its defaults.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Options {
    /// Weight of the L2 penalty, on the scale of a sum over rows: for the logistic models the loss is
    /// `Σ log loss + alpha/2 ‖w‖²`, for the linear one `Σ (y - ŷ)² + alpha ‖w‖²`. The intercept is not penalised.
    pub(super) alpha: f64,
    /// Most iterations of the solver; the linear model has none.
    pub(super) max_iterations: u64,
    /// Most categories of a feature with a column of their own.
    pub(super) max_categories: usize,
    /// Fewest rows for a category to have a column of its own.
    pub(super) min_category_rows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { alpha: 1.0, max_iterations: 500, max_categories: 100, min_category_rows: 5 }
    }
}

impl Options {
    /// Reads the parameters; an unknown one is an error, because a misspelt `alpha` would otherwise be ignored.
    pub(super) fn read(parameters: &BTreeMap<String, String>) -> Result<Self, TrainingError> {
        let mut options = Self::default();
        for (name, value) in parameters {
            let parameter = Parameter { name, value };
            match name.as_str() {
                "alpha" => {
                    let allowed = |alpha: &f64| alpha.is_finite() && *alpha >= 0.0;
                    options.alpha = parameter.read("a number of at least 0 is expected", allowed)?;
                }
                "max_iterations" => {
                    options.max_iterations = parameter.read("a whole number from 1 is expected", |n| *n >= 1)?;
                }
                "max_categories" => {
                    // Indices up to 2^24 are exact in float32; far fewer are sensible.
                    options.max_categories =
                        parameter.read("a whole number from 1 to 10000 is expected", |n| (1..=10_000).contains(n))?;
                }
                "min_category_rows" => {
                    options.min_category_rows = parameter.read("a whole number from 1 is expected", |n| *n >= 1)?;
                }
                _ => {
                    return Err(parameter.refused(
                        "the builtin trainer knows alpha, max_iterations, max_categories and min_category_rows",
                    ));
                }
            }
        }
        Ok(options)
    }

    /// The parameters as they were used, for the lineage.
    pub(super) fn written(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("alpha".to_owned(), self.alpha.to_string()),
            ("max_iterations".to_owned(), self.max_iterations.to_string()),
            ("max_categories".to_owned(), self.max_categories.to_string()),
            ("min_category_rows".to_owned(), self.min_category_rows.to_string()),
        ])
    }
}

struct Parameter<'a> {
    name: &'a str,
    value: &'a str,
}

impl Parameter<'_> {
    fn read<T: FromStr>(&self, expected: &str, allowed: impl Fn(&T) -> bool) -> Result<T, TrainingError> {
        self.value.parse().ok().filter(allowed).ok_or_else(|| self.refused(expected))
    }

    fn refused(&self, expected: &str) -> TrainingError {
        TrainingError::Parameter {
            name: self.name.to_owned(),
            value: self.value.to_owned(),
            expected: expected.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Options, TrainingError> {
        Options::read(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn what_was_used_reads_back_the_same() {
        let options = Options { alpha: 0.25, max_iterations: 7, max_categories: 3, min_category_rows: 1 };
        assert_eq!(Options::read(&options.written()).unwrap(), options);
    }

    #[test]
    fn unknown_and_impossible_parameters_are_refused_by_name() {
        for (name, value) in [("alhpa", "1"), ("alpha", "-1"), ("alpha", "NaN"), ("max_iterations", "0")] {
            let message = read(name, value).unwrap_err().to_string();
            assert!(message.starts_with(&format!("training parameter {name}: {value} cannot be used")), "{message}");
        }
    }
}
