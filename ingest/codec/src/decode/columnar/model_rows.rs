//! The good rows of a batch, shared out to the models and versions they are of.

use super::Batch;
use super::coerce::{Coerced, Coercion};
use super::envelopes::{Envelopes, Needs};
use super::table::{FEATURES, Table};
use crate::decode::builders::RecordPosition;
use crate::decode::builders::append::GoodRows;
use crate::decode::route::EventKind;
use crate::decode::source::{MOST_VERSIONS_OF_RECORD, OTHER_VERSIONS, Source};
use crate::decode::{Decoder, Rows};
use arrow::array::{Array, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::UInt32Type;
use arrow::error::ArrowError;
use detectors::schema::ModelSchema;
use std::collections::{HashMap, HashSet};

/// Rows of a batch that go to one builder.
pub(super) struct ModelRows {
    pub(super) source: usize,
    pub(super) version: String,
    pub(super) rows: GoodRows,
    /// Features that the model does not have, and how many values they had.
    pub(super) unknown: Vec<(String, u64)>,
}

/// What is shared out, and among whom.
pub(super) struct Sharing<'a> {
    pub(super) batch: &'a Batch<'a>,
    pub(super) envelopes: Envelopes,
    pub(super) decoder: &'a Decoder,
    pub(super) rows: Rows,
}

/// Rows of one model and version.
struct Group {
    source: usize,
    version: String,
    rows: Vec<u32>,
}

impl Sharing<'_> {
    /// The shares, and whether each row is in one of them.
    pub(super) fn model_rows(&self) -> Result<(Vec<ModelRows>, Vec<bool>), ArrowError> {
        let kind = match self.rows {
            Rows::Events => EventKind::Inference,
            Rows::Labels => EventKind::Label,
        };
        let limits = &self.decoder.limits;
        let ahead_ms = i64::try_from(limits.max_future.as_millis()).unwrap_or(i64::MAX);
        // What is good at the first of their times is good at all; what is not is looked at by itself.
        let appended_ms = self.batch.spans.iter().map(|span| span.place.append_time_ms).min().unwrap_or(i64::MIN);
        let needs = Needs::new(kind, limits, appended_ms.saturating_add(ahead_ms));
        let good = self.envelopes.judge(self.batch.table, &needs);
        let mut is_taken = vec![false; good.len()];
        let mut model_rows = Vec::new();
        for group in self.groups(&good) {
            let Some(source) = self.decoder.sources.get(group.source).map(|active| &active.source) else { continue };
            let Some((rows, table, coerce)) = self.fitted(source, group.rows)? else { continue };
            for row in rows.values() {
                is_taken.get_mut(*row as usize).into_iter().for_each(|taken| *taken = true);
            }
            let unknown = if self.rows == Rows::Events { unknown_features(&table, &source.schema) } else { Vec::new() };
            let rows = self.good_rows(&rows, coerce)?;
            model_rows.push(ModelRows { source: group.source, version: group.version, rows, unknown });
        }
        Ok((model_rows, is_taken))
    }

    /// The good rows of known models, by model and version.
    fn groups(&self, good: &[bool]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut places: HashMap<(&str, &str), usize> = HashMap::new();
        let mut versions: HashMap<&str, usize> = HashMap::new();
        let mut last: Option<((&str, &str), usize)> = None;
        for (row, _) in (0u32..).zip(good).filter(|(_, good)| **good) {
            let at = row as usize;
            let version = if self.rows == Rows::Events { self.envelopes.versions.value(at) } else { "" };
            let mut names = (self.envelopes.models.value(at), version);
            if versions.get(names.0).is_some_and(|known| *known >= MOST_VERSIONS_OF_RECORD)
                && !places.contains_key(&names)
            {
                names.1 = OTHER_VERSIONS;
            }
            let known = last.filter(|(known, _)| *known == names).map(|(_, place)| place);
            let place = match known.or_else(|| places.get(&names).copied()) {
                Some(place) => place,
                None => {
                    let Some(source) = self.decoder.directory.find(names.0) else { continue };
                    groups.push(Group { source, version: names.1.to_owned(), rows: Vec::new() });
                    *versions.entry(names.0).or_default() += 1;
                    places.insert(names, groups.len() - 1);
                    groups.len() - 1
                }
            };
            groups.get_mut(place).into_iter().for_each(|group| group.rows.push(row));
            last = Some((names, place));
        }
        groups
    }

    /// The rows that are good in the columns of their model too, and those columns.
    fn fitted(&self, source: &Source, rows: Vec<u32>) -> Result<Option<(UInt32Array, Table, Coerced)>, ArrowError> {
        let mut rows = UInt32Array::from(rows);
        let mut table = self.batch.table.select(&rows)?;
        loop {
            let fitting = Coercion::new(source, &table, self.decoder.limits.max_text_bytes);
            let coerce = match self.rows {
                Rows::Events => fitting.events()?,
                Rows::Labels => fitting.labels()?,
            };
            let kept: Vec<u32> = (0..).zip(&coerce.good).filter(|(_, good)| **good).map(|(row, _)| row).collect();
            if kept.is_empty() {
                return Ok(None);
            }
            if kept.len() == rows.len() {
                return Ok(Some((rows, table, coerce)));
            }
            // The second time around all of them are good, because each row was judged by itself.
            let kept = UInt32Array::from(kept);
            table = table.select(&kept)?;
            rows = take(&rows, &kept, None)?.as_primitive::<UInt32Type>().clone();
        }
    }

    fn good_rows(&self, rows: &UInt32Array, coerce: Coerced) -> Result<GoodRows, ArrowError> {
        let envelopes = self.envelopes.select(rows)?;
        Ok(GoodRows {
            places: self.places(rows),
            ids: envelopes.ids,
            times: envelopes.times,
            columns: coerce.columns,
            label: coerce.label.values,
            sampling_rate: envelopes.sampling_rate,
            weight: envelopes.weight,
            hashes: self.batch.hashes,
        })
    }

    /// Where these rows, which ascend, stand in the log.
    fn places(&self, rows: &UInt32Array) -> Vec<RecordPosition> {
        let mut wanted = rows.values().iter().peekable();
        let all = (0u32..).zip(self.batch.spans.iter().flat_map(|span| span.places()));
        all.filter(|(row, _)| wanted.next_if_eq(&row).is_some()).map(|(_, place)| place).collect()
    }
}

fn unknown_features(table: &Table, schema: &ModelSchema) -> Vec<(String, u64)> {
    let known: HashSet<&str> = schema.features().map(|feature| feature.name.as_str()).collect();
    let unknown = table.within(FEATURES).filter(|(name, _)| !known.contains(name));
    let counted = unknown.map(|(name, column)| {
        let values = column.plain.len() - column.plain.logical_null_count();
        (name.to_owned(), values as u64)
    });
    counted.filter(|(_, values)| *values > 0).collect()
}
