//! What it costs to count a value: one column of 256 fine bins, with every count, moment and extreme of a profile.
//!
//! The promise is 8 ns a value. `normal` is the usual case; `lognormal` has most of its bins in a thousandth of its range,
//! which a lookup by equal widths would not survive; `nulls` has every tenth value missing, `drifted` a third of its values
//! out of range, and `odd` every tenth NaN or infinite. `categories` looks names up, of which the promise does not speak.
//! `groups` changes the profile at every row, as rows of interleaved segments do.
//!
//! What bounds it: the search for the bin, eight steps of which each waits for the one before it, though eight values search
//! side by side. The values of a batch and the counts lie in the first two caches.

use arrow::array::{ArrayRef, Float64Array, StringArray, new_null_array};
use arrow::datatypes::DataType;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use detectors::layout::ColumnLayout;
use detectors::profile::{Observed, Profile, observe_groups};
use std::hint::black_box;
use std::sync::Arc;

const ROWS: usize = 8_192;

/// Sums of twelve numbers of a xorshift generator: near enough to normal.
fn normal_values(seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..ROWS).map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0).collect()
}

fn numeric_cases() -> Vec<(&'static str, Float64Array)> {
    let values = normal_values(7);
    let nulls = values.iter().enumerate().map(|(row, value)| (row % 10 > 0).then_some(*value)).collect();
    vec![
        ("lognormal", values.iter().map(|value| Some((2.0 * value).exp())).collect()),
        ("nulls", nulls),
        ("odd", values.iter().enumerate().map(|(row, value)| Some(odd(row, *value))).collect()),
        ("drifted", values.iter().map(|value| Some(value + 2.5)).collect()),
        ("normal", Float64Array::from(values)),
    ]
}

/// Every tenth value is NaN or infinite.
fn odd(row: usize, value: f64) -> f64 {
    match row % 30 {
        0 => f64::NAN,
        10 => f64::INFINITY,
        20 => f64::NEG_INFINITY,
        _ => value,
    }
}

fn layout_for(name: &str) -> ColumnLayout {
    let mut values = normal_values(3);
    if name == "lognormal" {
        values.iter_mut().for_each(|value| *value = (2.0 * *value).exp());
    }
    ColumnLayout::learn_numeric(&mut values)
}

fn one_column(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("profile");
    group.throughput(Throughput::Elements(ROWS as u64));
    let wrong_type = new_null_array(&DataType::Null, ROWS);
    for (name, array) in numeric_cases() {
        let layouts = [layout_for(name)];
        let columns: [ArrayRef; 1] = [Arc::new(array)];
        let mut profile = Profile::empty(&layouts);
        group.bench_function(name, |bencher| {
            bencher.iter(|| profile.observe(black_box(&layouts), black_box(&columns), &wrong_type));
        });
    }
    let names: Vec<String> = (0..30).map(|i| format!("category {i}")).collect();
    let layouts = [ColumnLayout::learn_categorical(names.iter().map(String::as_str))];
    let values = (0..ROWS).filter_map(|row| names.get(row * 7 % 31 % 30));
    let columns: [ArrayRef; 1] = [Arc::new(StringArray::from_iter_values(values))];
    let mut profile = Profile::empty(&layouts);
    group.bench_function("categories", |bencher| {
        bencher.iter(|| profile.observe(black_box(&layouts), black_box(&columns), &wrong_type));
    });
    group.finish();
}

fn interleaved_groups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("groups");
    group.throughput(Throughput::Elements(10 * ROWS as u64));
    let wrong_type = new_null_array(&DataType::Null, ROWS);
    let layouts: Vec<ColumnLayout> = (0..10).map(|_| layout_for("normal")).collect();
    let columns: Vec<ArrayRef> =
        (0..10).map(|i| Arc::new(Float64Array::from(normal_values(i + 1))) as ArrayRef).collect();
    for (name, count) in [("one", 1), ("four", 4)] {
        let mut profiles = vec![Profile::empty(&layouts); count];
        let groups: Vec<usize> = (0..ROWS).map(|row| row % count).collect();
        let observed = Observed { layouts: &layouts, columns: &columns, wrong_type: &wrong_type };
        group.bench_function(name, |bencher| {
            bencher.iter(|| observe_groups(&mut profiles, black_box(&groups), black_box(&observed)));
        });
    }
    group.finish();
}

criterion_group!(benches, one_column, interleaved_groups);
criterion_main!(benches);
