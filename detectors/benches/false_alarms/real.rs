//! Two real streams whose drift has a date: alarms before it, and windows from it to the first alarm.
//!
//! Rows come in their own order, so each stream is one case and no estimate of a rate: what changes before the date (the
//! seasons of `elec2`) is in the alarms before it.

use crate::reference_of;
use crate::stream::profile;
use arrow::array::{ArrayRef, Float64Array, StringArray};
use detectors::alarm::Alarm;
use detectors::panel::{Panel, PanelPolicy};
use detectors::schema::ColumnKind::{self, Categorical, Numeric};
use detectors::verdict::Severity;
use detectors::windows::{Window, WindowSpec};
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;

/// A stream in one file or two, its reference first.
struct RealStream {
    name: &'static str,
    files: &'static [&'static str],
    columns: &'static [(&'static str, ColumnKind)],
    reference_rows: usize,
    /// The first row that has drifted.
    drift_row: usize,
    window_rows: usize,
}

const STREAMS: [RealStream; 2] = [
    RealStream {
        name: "car_loan",
        files: &[
            "nannyml_car_loan/synthetic_car_loan_reference.csv.gz",
            "nannyml_car_loan/synthetic_car_loan_analysis.csv.gz",
        ],
        columns: &[
            ("car_value", Numeric),
            ("salary_range", Categorical),
            ("debt_to_income_ratio", Numeric),
            ("loan_length", Numeric),
            ("repaid_loan_on_prev_car", Categorical),
            ("size_of_downpayment", Categorical),
            ("driver_tenure", Numeric),
        ],
        reference_rows: 50_000,
        drift_row: 75_000,
        window_rows: 1_000,
    },
    RealStream {
        name: "elec2",
        files: &["elec2/elec2.csv.gz"],
        columns: &[
            ("nswprice", Numeric),
            ("nswdemand", Numeric),
            ("vicprice", Numeric),
            ("vicdemand", Numeric),
            ("transfer", Numeric),
        ],
        // Half a year of weeks.
        reference_rows: 26 * 336,
        drift_row: 17_424,
        window_rows: 336,
    },
];

/// Prints what was found in each stream.
pub(crate) fn tell(policy: &PanelPolicy) {
    println!();
    println!(
        "{:<10} {:>6} {:>15} {:>13} {:>21}",
        "stream", "rows", "windows before", "alarms before", "windows to detection"
    );
    for stream in &STREAMS {
        let Some(windows) = stream.read() else {
            println!("{}: left out, DRIFTLINE_SHARED has no data", stream.name);
            continue;
        };
        let (before, alarms, until) = stream.judge(policy, windows);
        let until = until.map_or("-".to_owned(), |windows| windows.to_string());
        println!("{:<10} {:>6} {before:>15} {alarms:>13} {until:>21}", stream.name, stream.window_rows);
    }
}

impl RealStream {
    /// The rows, window by window; the last may be shorter. `None` where a file is not at hand.
    fn read(&self) -> Option<Vec<Vec<ArrayRef>>> {
        let shared = std::env::var_os("DRIFTLINE_SHARED")?;
        let mut columns: Vec<Vec<String>> = vec![Vec::new(); self.columns.len()];
        for file in self.files {
            let file = File::open(Path::new(&shared).join("data").join(file)).ok()?;
            let mut lines = BufReader::new(GzDecoder::new(file)).lines().map(Result::unwrap);
            let names: Vec<String> = lines.next()?.split(',').map(str::to_owned).collect();
            let place = |(name, _): &(&str, _)| names.iter().position(|found| found == name).unwrap();
            let places: Vec<usize> = self.columns.iter().map(place).collect();
            for line in lines {
                let cells: Vec<&str> = line.split(',').collect();
                columns.iter_mut().zip(&places).for_each(|(column, place)| column.push(cells[*place].to_owned()));
            }
        }
        let rows = columns.first()?.len();
        let window = |from: usize| {
            let range = from..(from + self.window_rows).min(rows);
            let parts = self.columns.iter().zip(&columns);
            parts.map(|((_, kind), column)| array(*kind, &column[range.clone()])).collect()
        };
        Some((0..rows).step_by(self.window_rows).map(window).collect())
    }

    /// How many windows end before the drift, the alarms among them, and the windows from the drift to the first alarm.
    fn judge(&self, policy: &PanelPolicy, mut windows: Vec<Vec<ArrayRef>>) -> (usize, u32, Option<usize>) {
        let judged = windows.split_off(self.reference_rows / self.window_rows);
        let features = self.columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        let spec = WindowSpec::new(Duration::from_secs(3_600), Duration::from_secs(3_600)).unwrap();
        let reference = reference_of(windows, features, spec);
        let panel = Panel::learn(policy, &reference, 0).unwrap();
        let mut alarm = Alarm::new(policy.hysteresis);
        let (mut before, mut alarms, mut stood) = (0, 0, false);
        let undrifted = (self.drift_row - self.reference_rows) / self.window_rows;
        for (place, columns) in judged.iter().enumerate() {
            let start_ms = place as i64 * HOUR_MS;
            let judgement = panel.judge_drift(&profile(reference.layouts(), columns));
            let severity = alarm.observe(Window { start_ms, end_ms: start_ms + HOUR_MS }, &judgement.outcome);
            let stands = severity == Severity::Drift;
            if place < undrifted {
                (before, alarms) = (before + 1, alarms + u32::from(stands && !stood));
                stood = stands;
            } else if stands {
                return (before, alarms, Some(place + 1 - undrifted));
            }
        }
        (before, alarms, None)
    }
}

fn array(kind: ColumnKind, cells: &[String]) -> ArrayRef {
    match kind {
        Numeric => Arc::new(cells.iter().map(|cell| cell.parse::<f64>().ok()).collect::<Float64Array>()),
        Categorical => Arc::new(StringArray::from_iter_values(cells)),
    }
}
