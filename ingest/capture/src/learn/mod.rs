//! Learning a reference from rows: a file's, a time range of the archive, or a training set.
//!
//! Edges and categories are learned first; then the rows are profiled by the same query as the stream's, pane by pane and
//! slice by slice, so that a reference's windows and the stream's are the same kind of thing. What it learns holds no raw
//! rows.

use crate::join::{OUTCOME_AFTER, OUTCOME_AFTER_STEP, OUTCOME_LABEL, OUTCOME_SIGN, outcome_schema};
use crate::segments::{Segmenter, known_segment};
use crate::stage::{InputQuery, OutcomeQueries, Qualities};
use crate::watched::WatchedModel;
use crate::window_query::{Cell, QueryEngine};
use arrow::array::{AsArray, Int8Array, Int64Array, RecordBatch};
use arrow::compute::{filter_record_batch, is_not_null};
use arrow::datatypes::{Field, Float64Type, Int64Type, Schema};
use codec::columns::{self, EVENT_TIME, LABEL};
use detectors::layout::ColumnLayout;
use detectors::moments::StepMoments;
use detectors::profile::{PackedProfile, Profile, ProfileError};
use detectors::quality::{Quality, QualityError};
use detectors::reference::{Origin, Reference, ReferenceError, ReferencePane, ReferenceParts, ReferenceSteps, Slice};
use detectors::schema::{ColumnKind, ColumnSchema};
use detectors::verdict::Segment;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;

/// The most values of a dimension that get a slice of their own; the rest share one.
const MOST_SEGMENTS: usize = 50;

/// Why a reference could not be learned.
#[derive(Debug, Error)]
pub enum LearnError {
    /// There are no rows to learn from.
    #[error("no rows to learn a reference of {model} from: check the file or the time range")]
    NoRows {
        /// The model.
        model: String,
    },
    /// A segment expression failed.
    #[error(transparent)]
    Segment(#[from] crate::segments::SegmentError),
    /// The query failed.
    #[error("profiling the reference of {model}: {source}")]
    Query {
        /// The model.
        model: String,
        /// What DataFusion said.
        #[source]
        source: Box<datafusion::common::DataFusionError>,
    },
    /// The parts do not make a reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Profiles of one slice do not add up.
    #[error("adding up profiles: {0}")]
    Profile(#[from] ProfileError),
    /// Qualities of one slice do not add up.
    #[error("adding up qualities: {0}")]
    Quality(#[from] QualityError),
    /// The runtime for the query could not be made.
    #[error("starting the query runtime: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Learns the reference of `version` from these rows, which have the columns of [`columns::event_schema`].
///
/// # Errors
/// When there are no rows, or they cannot be profiled.
pub fn learn_reference(
    watched: &Arc<WatchedModel>,
    version: &str,
    rows: &RecordBatch,
    origin: Origin,
) -> Result<Reference, LearnError> {
    if rows.num_rows() == 0 {
        return Err(LearnError::NoRows { model: watched.name.to_string() });
    }
    let learner = Learner { watched, segmenter: segmenter(watched)?, engine: QueryEngine::new()? };
    let failed = |source| LearnError::Query { model: watched.name.to_string(), source: Box::new(source) };
    let layouts = learn_layouts(&watched.schema.columns, rows);
    let rows = event_columns(watched, rows).map_err(|error| failed(error.into()))?;
    let rows = learner.segmenter.extend(&rows).map_err(failed)?;
    let profiles = learner.profiles(&rows, &layouts).map_err(failed)?;
    let (qualities, steps) = learner.qualities(&rows).map_err(failed)?;
    let known = frequent_segments(&profiles);
    let slices = slices(profiles, qualities, (&known, &layouts))?;
    let steps = steps_of(&steps, watched.step_ms);
    let parts = ReferenceParts {
        model: watched.name.to_string(),
        version: version.to_owned(),
        schema: watched.schema.clone(),
        origin,
        windows: watched.windows,
        layouts,
        slices,
        steps,
    };
    Ok(Reference::new(parts)?)
}

/// The columns that events have: rows of a training set bring the values of their segments too, which are found anew.
fn event_columns(watched: &WatchedModel, rows: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let schema = columns::event_schema(&watched.schema, &watched.segments_from_events());
    let places = schema.fields().iter().map(|field| rows.schema_ref().index_of(field.name()));
    rows.project(&places.collect::<Result<Vec<_>, _>>()?)
}

struct Learner<'a> {
    watched: &'a WatchedModel,
    segmenter: Segmenter,
    engine: QueryEngine,
}

impl Learner<'_> {
    fn profiles(
        &self,
        rows: &RecordBatch,
        layouts: &[ColumnLayout],
    ) -> Result<Vec<Cell<Profile>>, datafusion::common::DataFusionError> {
        let query = InputQuery::new(self.watched, &self.segmenter);
        let rows = query.rows(rows, vec![0; rows.num_rows()])?;
        self.engine.plan::<Profile>(query.spec, Arc::new(layouts.to_vec()))?.run(&self.engine, vec![rows])
    }

    /// Quality by pane and moments by step of the rows that have a label; nothing where none has.
    fn qualities(&self, rows: &RecordBatch) -> Result<Qualities, datafusion::common::DataFusionError> {
        let Some(labels) = rows.column_by_name(LABEL) else { return Ok((Vec::new(), Vec::new())) };
        let labelled = filter_record_batch(rows, &is_not_null(labels)?)?;
        if labelled.num_rows() == 0 {
            return Ok((Vec::new(), Vec::new()));
        }
        let kind = self.watched.schema.task.outcome_kind();
        let schema = outcome_schema(&without_label(&labelled.schema()), kind);
        let outcomes = as_outcomes(&labelled, &schema)?;
        let mut queries = OutcomeQueries::plan(self.watched, &self.segmenter, schema, &self.engine)?;
        queries.run(&self.engine, vec![outcomes])
    }
}

fn without_label(schema: &Schema) -> Arc<Schema> {
    let fields = schema.fields().iter().filter(|field| field.name() != LABEL).cloned();
    Arc::new(Schema::new(fields.collect::<Vec<Arc<Field>>>()))
}

/// Labelled rows as the label join would give them: on time, and none taken back.
fn as_outcomes(labelled: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, arrow::error::ArrowError> {
    let rows = labelled.num_rows();
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        OUTCOME_LABEL => labelled.column_by_name(LABEL).cloned(),
        OUTCOME_AFTER | OUTCOME_AFTER_STEP => Some(Arc::new(Int64Array::from(vec![0; rows])) as _),
        OUTCOME_SIGN => Some(Arc::new(Int8Array::from(vec![1; rows])) as _),
        name => labelled.column_by_name(name).cloned(),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.flatten().collect())
}

/// Bins and categories of these columns, found in the rows by their names; a column that is not there gets an empty layout.
pub fn learn_layouts(columns: &[ColumnSchema], rows: &RecordBatch) -> Vec<ColumnLayout> {
    let layout = |(name, kind): (&str, ColumnKind)| {
        let column = rows.column_by_name(name);
        match kind {
            ColumnKind::Numeric => {
                let numbers = column.and_then(|column| column.as_primitive_opt::<Float64Type>());
                let mut values: Vec<f64> =
                    numbers.map(|numbers| numbers.iter().flatten().collect()).unwrap_or_default();
                ColumnLayout::learn_numeric(&mut values)
            }
            ColumnKind::Categorical => {
                let values = column.and_then(|column| column.as_string_opt::<i32>());
                ColumnLayout::learn_categorical(values.into_iter().flat_map(|values| values.iter().flatten()))
            }
        }
    };
    columns.iter().map(|column| layout((&column.name, column.kind))).collect()
}

/// The values of each dimension with the most rows.
fn frequent_segments(profiles: &[Cell<Profile>]) -> BTreeSet<Segment> {
    let mut rows: BTreeMap<&Segment, i64> = BTreeMap::new();
    for cell in profiles {
        if let Some(segment) = &cell.segment {
            *rows.entry(segment).or_default() += cell.state.rows();
        }
    }
    let mut by_rows: Vec<_> = rows.into_iter().collect();
    by_rows.sort_by_key(|(segment, rows)| (-rows, (*segment).clone()));
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    let mut frequent = BTreeSet::new();
    for (segment, _) in by_rows {
        let of_dimension = taken.entry(&segment.dimension).or_default();
        *of_dimension += 1;
        if *of_dimension <= MOST_SEGMENTS {
            frequent.insert(segment.clone());
        }
    }
    frequent
}

#[derive(Default)]
struct PaneParts {
    profile: Option<Profile>,
    quality: Option<Quality>,
}

/// Panes and totals of every slice, the whole traffic first.
fn slices(
    profiles: Vec<Cell<Profile>>,
    qualities: Vec<Cell<Quality>>,
    (known, layouts): (&BTreeSet<Segment>, &[ColumnLayout]),
) -> Result<Vec<Slice>, LearnError> {
    let slice_of = |segment: Option<Segment>| segment.map(|segment| known_segment(segment, |s| known.contains(s)));
    let mut slices: BTreeMap<Option<Segment>, BTreeMap<i64, PaneParts>> = BTreeMap::new();
    for cell in profiles {
        let pane = slices.entry(slice_of(cell.segment)).or_default().entry(cell.start_ms).or_default();
        match &mut pane.profile {
            Some(so_far) => so_far.merge(&cell.state)?,
            none => *none = Some(cell.state),
        }
    }
    for cell in qualities {
        let pane = slices.entry(slice_of(cell.segment)).or_default().entry(cell.start_ms).or_default();
        match &mut pane.quality {
            Some(so_far) => so_far.merge(&cell.state)?,
            none => *none = Some(cell.state),
        }
    }
    slices.into_iter().map(|(segment, panes)| slice(segment, panes, layouts)).collect()
}

/// A slice from its panes; totals are their sums. Panes without a profile hold labels only, and belong to no row.
fn slice(
    segment: Option<Segment>,
    parts: BTreeMap<i64, PaneParts>,
    layouts: &[ColumnLayout],
) -> Result<Slice, LearnError> {
    let mut whole = Slice { segment, profile: Profile::empty(layouts), quality: None, panes: Vec::new() };
    for (start_ms, parts) in parts {
        let Some(profile) = parts.profile else { continue };
        whole.profile.merge(&profile)?;
        match (&mut whole.quality, &parts.quality) {
            (Some(so_far), Some(quality)) => so_far.merge(quality)?,
            (none, Some(quality)) => *none = Some(quality.clone()),
            (_, None) => {}
        }
        let profile = PackedProfile::of(&profile)?;
        whole.panes.push(ReferencePane { start_ms, profile, quality: parts.quality });
    }
    Ok(whole)
}

fn steps_of(steps: &[Cell<StepMoments>], step_ms: i64) -> Option<ReferenceSteps> {
    let moments: Vec<_> = steps.iter().map(|cell| cell.state).collect();
    (!moments.is_empty()).then(|| ReferenceSteps::learn(step_ms, &moments))
}

fn segmenter(watched: &WatchedModel) -> Result<Segmenter, crate::segments::SegmentError> {
    Segmenter::new(&columns::event_schema(&watched.schema, &watched.segments_from_events()), &watched.segments)
}

/// Earliest and latest event time of the rows; `None` where there are none.
pub fn time_span(rows: &RecordBatch) -> Option<(i64, i64)> {
    let times = rows.column_by_name(EVENT_TIME)?.as_primitive_opt::<Int64Type>()?;
    Some((arrow::compute::min(times)?, arrow::compute::max(times)?))
}

#[cfg(test)]
mod tests;
