//! What it costs to judge a window: the default statistics of ten columns from profiles that are already filled.
//!
//! The promise is 2 ms for all default statistics on ten numeric columns of 256 fine bins, a window of a million rows against a
//! reference of a million. `defaults` are the panel's, `all` every statistic that is defined for numbers. `exact` compares two
//! sorted samples of ten thousand values by the same ones.
//!
//! What bounds it: from counts the cost does not depend on the rows. A pair makes each view once, so most of the time is
//! spent in logarithms and roots of 256 bins.

use arrow::array::{ArrayRef, Float64Array, new_null_array};
use arrow::datatypes::DataType;
use criterion::{Criterion, criterion_group, criterion_main};
use detectors::layout::ColumnLayout;
use detectors::panel::PanelPolicy;
use detectors::profile::Profile;
use detectors::schema::ColumnKind;
use detectors::statistics::{NumberSample, Pair, Statistic};
use std::hint::black_box;
use std::sync::Arc;

const ROWS: usize = 1_000_000;
const COLUMNS: usize = 10;
const BATCH: usize = 8_192;

/// Sums of four numbers of a xorshift generator, moved by `shift`.
fn values(seed: u64, rows: usize, shift: f64) -> Vec<f64> {
    let mut state = seed;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..rows).map(|_| (0..4).map(|_| uniform()).sum::<f64>() + shift).collect()
}

fn filled(layouts: &[ColumnLayout], columns: &[Vec<f64>]) -> Profile {
    let mut profile = Profile::empty(layouts);
    for start in (0..ROWS).step_by(BATCH) {
        let rows = start..ROWS.min(start + BATCH);
        let wrong_type = new_null_array(&DataType::Null, rows.len());
        let batch = columns.iter().filter_map(|column| column.get(rows.clone()));
        let batch: Vec<ArrayRef> = batch.map(|part| Arc::new(Float64Array::from(part.to_vec())) as ArrayRef).collect();
        let observed = profile.observe(layouts, &batch, &wrong_type);
        assert!(observed.is_ok(), "{observed:?}");
    }
    profile
}

fn scores(layouts: &[ColumnLayout], profiles: (&Profile, &Profile), statistics: &[Statistic]) -> f64 {
    let columns = layouts.iter().zip(profiles.0.columns()).zip(profiles.1.columns());
    let pairs = columns.filter_map(|((layout, reference), current)| Pair::of_profiles(layout, reference, current).ok());
    let judged = pairs.map(|pair| {
        let evidence = statistics.iter().filter_map(|statistic| statistic.detector().compare(&pair).ok());
        evidence.map(|evidence| evidence.score).sum::<f64>()
    });
    judged.sum()
}

fn from_profiles(criterion: &mut Criterion) {
    let columns = |shift: f64, seed: u64| -> Vec<Vec<f64>> {
        (0..COLUMNS).map(|column| values(seed + column as u64, ROWS, shift)).collect()
    };
    let (reference, current) = (columns(0.0, 11), columns(0.02, 71));
    let layouts: Vec<ColumnLayout> =
        reference.iter().map(|column| ColumnLayout::learn_numeric(&mut column.clone())).collect();
    let profiles = (filled(&layouts, &reference), filled(&layouts, &current));
    let numeric = |statistic: &Statistic| statistic.applies_to(ColumnKind::Numeric);
    let all: Vec<Statistic> = Statistic::ALL.into_iter().filter(numeric).collect();
    let mut group = criterion.benchmark_group("statistics");
    for (name, statistics) in [("defaults", PanelPolicy::default().numeric), ("all", all.clone())] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| scores(black_box(&layouts), black_box((&profiles.0, &profiles.1)), &statistics));
        });
    }
    for statistic in all {
        group.bench_function(statistic.name(), |bencher| {
            bencher.iter(|| scores(black_box(&layouts), black_box((&profiles.0, &profiles.1)), &[statistic]));
        });
    }
    group.finish();
}

fn from_samples(criterion: &mut Criterion) {
    let (reference, current) = (values(3, 10_000, 0.0), values(5, 10_000, 0.02));
    let samples = (NumberSample::of(&reference), NumberSample::of(&current));
    let numeric = |statistic: &Statistic| statistic.applies_to(ColumnKind::Numeric);
    let all: Vec<Statistic> = Statistic::ALL.into_iter().filter(numeric).collect();
    criterion.bench_function("exact", |bencher| {
        bencher.iter(|| {
            let pair = Pair::of_numbers(black_box(&samples.0), black_box(&samples.1));
            let evidence = all.iter().filter_map(|statistic| statistic.detector().compare(&pair).ok());
            evidence.map(|evidence| evidence.score).sum::<f64>()
        });
    });
}

criterion_group!(benches, from_profiles, from_samples);
criterion_main!(benches);
