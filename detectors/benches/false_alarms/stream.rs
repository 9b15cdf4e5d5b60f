//! The streams that are generated, and the profiles of their windows.

use arrow::array::{ArrayRef, Float64Array, StringArray, new_null_array};
use arrow::datatypes::DataType;
use detectors::layout::ColumnLayout;
use detectors::profile::Profile;
use detectors::schema::ColumnKind;
use flate2::read::GzDecoder;
use std::f64::consts::PI;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

const NUMERIC: usize = 16;
const CATEGORICAL: usize = 4;
const WINDOWS_A_DAY: i64 = 24;

/// SplitMix64, with normal numbers looked up in a table of 65,536 quantiles, four from one draw.
pub(crate) struct Random {
    state: u64,
    normals: Arc<Vec<f32>>,
}

impl Random {
    pub(crate) fn new(seed: u64, normals: &Arc<Vec<f32>>) -> Self {
        Self { state: seed, normals: Arc::clone(normals) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A normal number, with what the table leaves out made up by a little noise.
    fn normal(&mut self) -> f64 {
        let bits = self.next();
        let noise = (bits >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
        f64::from(self.normals[(bits & 0xFFFF) as usize]) + 1e-3 * noise
    }
}

pub(crate) fn normal_table() -> Arc<Vec<f32>> {
    use statrs::distribution::{ContinuousCDF, Normal};
    let normal = Normal::new(0.0, 1.0).unwrap();
    Arc::new((0..65_536).map(|i| normal.inverse_cdf((f64::from(i) + 0.5) / 65_536.0) as f32).collect())
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Independent,
    Autoregressive,
    Season,
    Elec2,
}

/// What changes, from the first window after the reference on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Drift {
    None,
    Shift(f64),
    NewCategory(f64),
    DoubledVariance,
    /// So many standard deviations more in each window.
    Ramp(f64),
}

/// A stream of windows.
pub(crate) struct Stream<'a> {
    kind: Kind,
    drift: Drift,
    random: Random,
    /// The autoregressive state of each feature.
    latent: Vec<f64>,
    market: &'a [Vec<f64>],
}

impl<'a> Stream<'a> {
    pub(crate) fn new(kind: Kind, drift: Drift, mut random: Random, market: &'a [Vec<f64>]) -> Self {
        let latent = (0..NUMERIC + CATEGORICAL).map(|_| random.normal()).collect();
        Self { kind, drift, random, latent, market }
    }

    pub(crate) fn features(&self) -> Vec<(String, ColumnKind)> {
        match self.kind {
            Kind::Elec2 => (0..self.market.len()).map(|i| (format!("x{i}"), ColumnKind::Numeric)).collect(),
            _ => (0..NUMERIC + CATEGORICAL)
                .map(|i| (format!("x{i}"), if i < NUMERIC { ColumnKind::Numeric } else { ColumnKind::Categorical }))
                .collect(),
        }
    }

    /// The columns of one window; `drifted` is how many windows the drift has lasted, this one included.
    pub(crate) fn window(&mut self, place: i64, rows: usize, drifted: u32) -> Vec<ArrayRef> {
        if self.kind == Kind::Elec2 {
            return self.market_rows(rows);
        }
        let mut columns: Vec<ArrayRef> = Vec::new();
        for feature in 0..NUMERIC + CATEGORICAL {
            let values = self.latent_values(feature, place, rows);
            columns.push(if feature < NUMERIC {
                Arc::new(Float64Array::from_iter_values(
                    values.into_iter().map(|value| self.numeric(feature, value, drifted)),
                ))
            } else {
                let names: Vec<String> =
                    values.into_iter().map(|value| self.category(feature, value, drifted)).collect();
                Arc::new(StringArray::from(names))
            });
        }
        columns
    }

    fn latent_values(&mut self, feature: usize, place: i64, rows: usize) -> Vec<f64> {
        let (keep, fresh) = if self.kind == Kind::Autoregressive { (0.9, 0.19_f64.sqrt()) } else { (0.0, 1.0) };
        let wave = |row: usize| {
            let day = (place as f64 + row as f64 / rows as f64) / WINDOWS_A_DAY as f64;
            if self.kind == Kind::Season && feature.is_multiple_of(2) { (2.0 * PI * day).sin() } else { 0.0 }
        };
        let waves: Vec<f64> = (0..rows).map(wave).collect();
        let mut state = self.latent[feature];
        let values = waves.into_iter().map(|wave| {
            state = keep * state + fresh * self.random.normal();
            state + wave
        });
        let values = values.collect();
        self.latent[feature] = state;
        values
    }

    /// Normal, log-normal, counted or rounded, by turns.
    fn numeric(&self, feature: usize, value: f64, drifted: u32) -> f64 {
        let value = match self.drift {
            Drift::Shift(by) if feature == 0 && drifted > 0 => value + by,
            Drift::Ramp(by) if feature == 0 => value + by * f64::from(drifted),
            Drift::DoubledVariance if feature == 0 && drifted > 0 => value * 2.0_f64.sqrt(),
            _ => value,
        };
        match feature % 4 {
            0 => value,
            1 => value.exp(),
            2 => (3.0 + 1.5 * value).max(0.0).floor(),
            _ => (100.0 * value).round(),
        }
    }

    /// Four to seven categories of falling frequency.
    fn category(&self, feature: usize, value: f64, drifted: u32) -> String {
        let share = match self.drift {
            Drift::NewCategory(share) if feature == NUMERIC && drifted > 0 => share,
            _ => 0.0,
        };
        if share > 0.0 && (value * 1e4).rem_euclid(1.0) < share {
            return "new".to_owned();
        }
        let levels = 4 + (feature - NUMERIC) as i64;
        format!("c{}", (value.abs() * 2.0).floor().min((levels - 1) as f64))
    }

    fn market_rows(&mut self, rows: usize) -> Vec<ArrayRef> {
        let all = self.market.first().map_or(0, Vec::len) as u64;
        let places: Vec<usize> = (0..rows).map(|_| (self.random.next() % all) as usize).collect();
        let column = |values: &Vec<f64>| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(places.iter().map(|place| values[*place])))
        };
        self.market.iter().map(column).collect()
    }
}

pub(crate) fn elec2() -> Vec<Vec<f64>> {
    let Some(shared) = std::env::var_os("DRIFTLINE_SHARED") else { return Vec::new() };
    let Ok(file) = File::open(Path::new(&shared).join("data/elec2/elec2.csv.gz")) else { return Vec::new() };
    let mut lines = BufReader::new(GzDecoder::new(file)).lines();
    let names: Vec<String> = lines.next().unwrap().unwrap().split(',').map(str::to_owned).collect();
    let wanted = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"];
    let places: Vec<usize> = wanted.iter().filter_map(|name| names.iter().position(|n| n == name)).collect();
    let mut columns = vec![Vec::new(); places.len()];
    for line in lines {
        let line = line.unwrap();
        let cells: Vec<&str> = line.split(',').collect();
        for (column, place) in columns.iter_mut().zip(&places) {
            column.push(cells[*place].parse().unwrap());
        }
    }
    columns
}

pub(crate) fn profile(layouts: &[ColumnLayout], columns: &[ArrayRef]) -> Profile {
    let mut profile = Profile::empty(layouts);
    profile.observe(layouts, columns, &new_null_array(&DataType::Null, columns[0].len())).unwrap();
    profile
}

pub(crate) fn layout(parts: &[Vec<ArrayRef>], column: usize) -> ColumnLayout {
    let arrays = parts.iter().map(|columns| &columns[column]);
    if arrays.clone().any(|array| array.data_type() == &DataType::Utf8) {
        let names: Vec<String> = arrays
            .flat_map(|array| {
                let names = array.as_any().downcast_ref::<StringArray>().unwrap();
                names.iter().flatten().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        return ColumnLayout::learn_categorical(names.iter().map(String::as_str));
    }
    let mut values: Vec<f64> =
        arrays.flat_map(|array| array.as_any().downcast_ref::<Float64Array>().unwrap().values().to_vec()).collect();
    ColumnLayout::learn_numeric(&mut values)
}
