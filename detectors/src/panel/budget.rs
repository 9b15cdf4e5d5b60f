//! How many false alarms a user puts up with, as people say it: `1 per month`, `one a week`, `1 per 1000 windows`.

use crate::windows::WindowSpec;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// What raises alarms: the tests of drift, those of quality, and the sequential detectors. Each has the same part of a
/// budget.
const SOURCES: f64 = 3.0;

const HOUR_MS: f64 = 3_600_000.0;

/// Why a text is no budget.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("`{text}` is no budget of false alarms: write it as `1 per month`, `2 per week` or `1 per 1000 windows`")]
pub struct BudgetError {
    text: String,
}

/// So many false alarms in so much time, or in so many windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FalseAlarmBudget {
    alarms: f64,
    per: Per,
}

/// What the alarms are counted in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Per {
    Windows(f64),
    Time(Unit, f64),
}

/// A unit of time in which budgets are stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Unit {
    const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// A month has 30 days and a year 365.
    fn millis(self) -> f64 {
        match self {
            Self::Hour => HOUR_MS,
            Self::Day => 24.0 * HOUR_MS,
            Self::Week => 7.0 * 24.0 * HOUR_MS,
            Self::Month => 30.0 * 24.0 * HOUR_MS,
            Self::Year => 365.0 * 24.0 * HOUR_MS,
        }
    }
}

impl FalseAlarmBudget {
    /// One in so many windows.
    pub fn one_in(windows: u32) -> Self {
        Self { alarms: 1.0, per: Per::Windows(f64::from(windows.max(1))) }
    }

    /// The budget of a model with so many slices of which one source may raise `rate` alarms in a window; `None` where that
    /// is more than one alarm in each.
    pub(super) fn of_rate(rate: f64, slices: usize) -> Option<Self> {
        let alarms = rate * SOURCES * slices.max(1) as f64;
        (alarms <= 1.0).then(|| Self { alarms: 1.0, per: Per::Windows((1.0 / alarms).floor()) })
    }

    /// The alarms that one source of them may raise in a window, where a model has so many slices (all of its traffic, and
    /// its segments). Each window counts, those that overlap too.
    pub fn rate_per_window(&self, windows: WindowSpec, slices: usize) -> f64 {
        let of_model = match self.per {
            Per::Windows(count) => self.alarms / count,
            Per::Time(unit, count) => self.alarms * windows.hop_ms() as f64 / (unit.millis() * count),
        };
        of_model / SOURCES / slices.max(1) as f64
    }

    /// The time in which one source may raise one alarm; `None` where the budget is stated in windows.
    pub fn millis_per_alarm(&self) -> Option<f64> {
        match self.per {
            Per::Windows(_) => None,
            Per::Time(unit, count) => Some(unit.millis() * count * SOURCES / self.alarms),
        }
    }
}

impl fmt::Display for FalseAlarmBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per {
            Per::Windows(count) => write!(f, "{} per {count} windows", self.alarms),
            Per::Time(unit, 1.0) => write!(f, "{} per {}", self.alarms, unit.name()),
            Per::Time(unit, count) => write!(f, "{} per {count} {}s", self.alarms, unit.name()),
        }
    }
}

impl FromStr for FalseAlarmBudget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, BudgetError> {
        let refused = || BudgetError { text: text.to_owned() };
        let words: Vec<&str> = text.split_whitespace().filter(|word| !matches!(*word, "alarm" | "alarms")).collect();
        let (alarms, count, unit) = match words.as_slice() {
            [alarms, "per" | "a" | "an" | "every" | "in", unit] => (*alarms, "1", *unit),
            [alarms, "per" | "every" | "in", count, unit] => (*alarms, *count, *unit),
            _ => return Err(refused()),
        };
        let (alarms, count) = (number(alarms).ok_or_else(refused)?, number(count).ok_or_else(refused)?);
        let singular = unit.strip_suffix('s').unwrap_or(unit);
        let per = match Unit::ALL.into_iter().find(|unit| unit.name() == singular) {
            Some(unit) => Per::Time(unit, count),
            None if singular == "window" => Per::Windows(count),
            None => return Err(refused()),
        };
        Ok(Self { alarms, per })
    }
}

/// A positive number, in digits or as the word for one.
fn number(word: &str) -> Option<f64> {
    if word == "one" {
        return Some(1.0);
    }
    word.replace('_', "").parse().ok().filter(|number: &f64| *number > 0.0 && number.is_finite())
}

impl TryFrom<String> for FalseAlarmBudget {
    type Error = BudgetError;

    fn try_from(text: String) -> Result<Self, BudgetError> {
        text.parse()
    }
}

impl From<FalseAlarmBudget> for String {
    fn from(budget: FalseAlarmBudget) -> Self {
        budget.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_budget_is_read_as_it_is_said_and_written_as_it_is_read() {
        let again = |text: &str| text.parse::<FalseAlarmBudget>().unwrap().to_string();
        assert_eq!(again("one a month"), "1 per month");
        assert_eq!(again("1 per month"), "1 per month");
        assert_eq!(again("2 alarms per 3 weeks"), "2 per 3 weeks");
        assert_eq!(again("1 in 1_000 windows"), "1 per 1000 windows");
        for text in ["", "month", "0 per month", "-1 per day", "1 per 0 days", "nan a day", "1 per fortnight", "1 a"] {
            let message = text.parse::<FalseAlarmBudget>().unwrap_err().to_string();
            assert!(message.contains("`1 per month`"), "{text}: {message}");
        }
    }

    #[test]
    fn a_budget_is_shared_by_sources_and_slices_and_counts_every_window() {
        let hour = Duration::from_secs(3_600);
        let month: FalseAlarmBudget = "1 per month".parse().unwrap();
        let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-12, "{a} {b}");
        close(month.rate_per_window(WindowSpec::tumbling(hour).unwrap(), 1), 1.0 / 720.0 / 3.0);
        close(month.rate_per_window(WindowSpec::new(24 * hour, hour).unwrap(), 4), 1.0 / 720.0 / 3.0 / 4.0);
        let thousand = FalseAlarmBudget::one_in(1_000);
        close(thousand.rate_per_window(WindowSpec::tumbling(hour).unwrap(), 1), 1.0 / 3_000.0);
        close(month.millis_per_alarm().unwrap(), 90.0 * 24.0 * HOUR_MS);
        assert_eq!(thousand.millis_per_alarm(), None);
    }
}
