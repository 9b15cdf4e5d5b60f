//! What capture holds of one model: its joins, the rows of the epoch, and the queries that profile them.

use super::CaptureError;
use super::rows::PreparedRows;
use crate::columns::{self, EVENT_TIME, WRONG_TYPE};
use crate::join::{KeptColumns, LabelJoin, LabelSpace, OUTCOME_AGE, OUTCOME_LABEL, OUTCOME_SIGN, outcome_schema};
use crate::log::PartitionId;
use crate::partial::{Partial, PartialBody};
use crate::references::ChosenReference;
use crate::segments::{Segmenter, known_segment};
use crate::stage::StageError;
use crate::watched::WatchedModel;
use crate::window_query::aggregate::WindowState;
use crate::window_query::{Cell, QueryEngine, QuerySpec, WindowQuery};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::row::Rows;
use datafusion::common::DataFusionError;
use detectors::moments::StepMoments;
use detectors::profile::Profile;
use detectors::quality::Quality;
use detectors::reference::Reference;
use detectors::schema::Role;
use detectors::verdict::Segment;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Int64 column that tells late rows (1) from others (0).
const LATE: &str = "late";

pub(super) struct CaptureModel {
    pub(super) watched: Arc<WatchedModel>,
    pub(super) segmenter: Segmenter,
    pub(super) joins: HashMap<PartitionId, LabelJoin>,
    versions: BTreeMap<Arc<str>, Version>,
    /// What profiles the inputs of any version, held against its reference.
    inputs: QuerySpec,
    /// What profiles the outcomes of any version; `None` before there was one.
    outcomes: Option<OutcomeQueries>,
    /// Indices of the columns that the join keeps of a prediction, and what turns them into rows.
    kept: Vec<usize>,
    kept_columns: Arc<KeptColumns>,
    /// Where the joins hold their ids.
    space: Arc<LabelSpace>,
}

/// The epoch's rows of one version, and the queries planned for its reference.
#[derive(Default)]
struct Version {
    rows: Vec<RecordBatch>,
    outcomes: Vec<RecordBatch>,
    queries: Option<Queries>,
}

struct Queries {
    reference: Option<Arc<Reference>>,
    segments: BTreeSet<Segment>,
    inputs: Option<WindowQuery<Profile>>,
}

/// Quality by pane, and moments by step.
pub(crate) type Qualities = (Vec<Cell<Quality>>, Vec<Cell<StepMoments>>);

/// The queries that profile outcomes: the same for the stream and for references.
pub(crate) struct OutcomeQueries {
    by_pane: WindowQuery<Quality>,
    by_step: WindowQuery<StepMoments>,
}

impl CaptureModel {
    pub(super) fn new(watched: Arc<WatchedModel>, space: &Arc<LabelSpace>) -> Result<Self, CaptureError> {
        let events = columns::event_schema(&watched.schema, &watched.segments_from_events());
        let segmenter = Segmenter::new(&events, &watched.segments)?;
        let is_kept = |name: &str| {
            name == EVENT_TIME
                || columns::output_columns(&watched.schema).any(|output| output == name)
                || segmenter.dimensions().iter().any(|dimension| dimension.column == name)
        };
        let fields = segmenter.schema().fields().iter().enumerate();
        let kept: Vec<_> = fields.filter(|(_, field)| is_kept(field.name())).map(|(index, _)| index).collect();
        let kept_columns = Arc::new(KeptColumns::new(Arc::new(segmenter.schema().project(&kept)?))?);
        let inputs = input_query(&watched, &segmenter);
        let (joins, versions, space) = (HashMap::new(), BTreeMap::new(), Arc::clone(space));
        Ok(Self { watched, segmenter, joins, versions, inputs, outcomes: None, kept, kept_columns, space })
    }

    /// The join of a partition, where the model has labels.
    pub(super) fn join(&mut self, partition: PartitionId) -> Option<&mut LabelJoin> {
        let policy = self.watched.labels.as_ref()?;
        let new = || LabelJoin::new(policy.clone(), Arc::clone(&self.kept_columns), &self.space);
        Some(self.joins.entry(partition).or_insert_with(new))
    }

    /// The columns of predictions that their outcomes need, row by row.
    pub(super) fn kept_rows(&self, batch: &RecordBatch) -> Result<Rows, StageError> {
        let rows = batch.project(&self.kept).and_then(|kept| self.kept_columns.rows(&kept));
        rows.map_err(|error| StageError::failed("keeping predictions", error))
    }

    /// Adds rows to the epoch.
    pub(super) fn add_rows(&mut self, version: &Arc<str>, rows: PreparedRows) -> Result<(), StageError> {
        let rows = rows.finish(&self.inputs.schema)?;
        self.versions.entry(Arc::clone(version)).or_default().rows.push(rows);
        Ok(())
    }

    /// Moves the joins' labelled rows to the epoch of their versions.
    pub(super) fn collect_outcomes(&mut self) -> Result<(), StageError> {
        let task = &self.watched.schema.task;
        for join in self.joins.values_mut().filter(|join| join.has_outcomes()) {
            let outcomes = join.take_outcomes(task).map_err(|error| StageError::failed("joining labels", error))?;
            for (version, batch) in outcomes {
                self.versions.entry(version).or_default().outcomes.push(batch);
            }
        }
        Ok(())
    }

    /// Forgets rows and labelled rows, which were sent before a restart.
    pub(super) fn discard(&mut self) {
        self.joins.values_mut().for_each(LabelJoin::discard_outcomes);
        for version in self.versions.values_mut() {
            version.rows.clear();
            version.outcomes.clear();
        }
    }

    /// The versions that have rows in this epoch.
    pub(super) fn touched_versions(&self) -> Vec<Arc<str>> {
        let touched = |version: &&Version| !version.rows.is_empty() || !version.outcomes.is_empty();
        self.versions.iter().filter(|(_, version)| touched(version)).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Profiles the epoch's rows of a version against the reference chosen for it.
    pub(super) fn partials(
        &mut self,
        version: &Arc<str>,
        chosen: Option<ChosenReference>,
        engine: &QueryEngine,
    ) -> Result<Vec<Partial>, StageError> {
        let failed = |error| StageError::failed(format!("profiling {} {version}", self.watched.name), error);
        let state = self.versions.entry(Arc::clone(version)).or_default();
        let reference = chosen.map(|chosen| chosen.reference);
        let id = |reference: &Option<Arc<Reference>>| reference.as_ref().map(|reference| reference.id().to_owned());
        let queries = match state.queries.take() {
            Some(planned) if id(&planned.reference) == id(&reference) => planned,
            _ => Queries::plan(&self.inputs, reference, engine).map_err(failed)?,
        };
        let queries = state.queries.insert(queries);
        let named = Named {
            model: &self.watched.name,
            version,
            reference: id(&queries.reference),
            segments: &queries.segments,
        };
        let (rows, outcomes) = (std::mem::take(&mut state.rows), std::mem::take(&mut state.outcomes));
        let mut partials = match &mut queries.inputs {
            Some(inputs) => named.profiles(inputs.run(engine, rows).map_err(failed)?)?,
            None => named.counted(&rows, self.watched.windows.pane_ms()),
        };
        if !outcomes.is_empty() {
            let planned = match self.outcomes.take() {
                Some(planned) => planned,
                None => {
                    let predictions =
                        self.segmenter.schema().project(&self.kept).map_err(|error| failed(error.into()))?;
                    let schema = outcome_schema(&Arc::new(predictions), self.watched.schema.task.outcome_kind());
                    OutcomeQueries::plan(&self.watched, &self.segmenter, schema, engine).map_err(failed)?
                }
            };
            let (qualities, steps) = self.outcomes.insert(planned).run(engine, outcomes).map_err(failed)?;
            partials.extend(named.qualities(qualities)?);
            partials.extend(named.steps(steps)?);
        }
        Ok(partials)
    }
}

/// Whose partials they are.
struct Named<'a> {
    model: &'a Arc<str>,
    version: &'a Arc<str>,
    reference: Option<String>,
    /// The segments that the reference knows.
    segments: &'a BTreeSet<Segment>,
}

impl Named<'_> {
    fn partial(&self, segment: Option<Segment>, body: PartialBody) -> Partial {
        Partial {
            model: self.model.to_string(),
            version: self.version.to_string(),
            reference: self.reference.clone(),
            segment,
            body,
        }
    }

    fn profiles(&self, cells: Vec<Cell<Profile>>) -> Result<Vec<Partial>, StageError> {
        self.merged(cells, |start_ms, tag, profile| PartialBody::Inputs {
            pane_start_ms: start_ms,
            late: tag != 0,
            profile,
        })
    }

    fn qualities(&self, cells: Vec<Cell<Quality>>) -> Result<Vec<Partial>, StageError> {
        self.merged(cells, |start_ms, tag, quality| PartialBody::Outcomes {
            pane_start_ms: start_ms,
            age: u8::try_from(tag).unwrap_or(u8::MAX),
            quality,
        })
    }

    fn steps(&self, cells: Vec<Cell<StepMoments>>) -> Result<Vec<Partial>, StageError> {
        self.merged(cells, |start_ms, tag, moments| PartialBody::Step {
            step_start_ms: start_ms,
            age: u8::try_from(tag).unwrap_or(u8::MAX),
            moments,
        })
    }

    /// Partials of the cells, with segments that the reference does not know gathered in one.
    fn merged<S: WindowState>(
        &self,
        cells: Vec<Cell<S>>,
        body: impl Fn(i64, i64, S) -> PartialBody,
    ) -> Result<Vec<Partial>, StageError> {
        let mut merged: BTreeMap<(i64, i64, Option<Segment>), S> = BTreeMap::new();
        for cell in cells {
            let segment = cell.segment.map(|segment| known_segment(segment, |segment| self.segments.contains(segment)));
            match merged.entry((cell.start_ms, cell.tag, segment)) {
                std::collections::btree_map::Entry::Vacant(vacant) => {
                    vacant.insert(cell.state);
                }
                std::collections::btree_map::Entry::Occupied(mut occupied) => occupied
                    .get_mut()
                    .merge(&cell.state)
                    .map_err(|error| StageError::failed("merging segments", error))?,
            }
        }
        let named =
            merged.into_iter().map(|((start, tag, segment), state)| self.partial(segment, body(start, tag, state)));
        Ok(named.collect())
    }

    /// Rows counted by pane, before there is a reference to profile them against.
    fn counted(&self, rows: &[RecordBatch], pane_ms: i64) -> Vec<Partial> {
        let mut by_pane: BTreeMap<i64, i64> = BTreeMap::new();
        for batch in rows {
            let (Some(times), Some(late)) = (int64(batch, EVENT_TIME), int64(batch, LATE)) else { continue };
            for (time, late) in times.values().iter().zip(late.values()) {
                if *late == 0 {
                    *by_pane.entry(detectors::windows::floor_to(*time, pane_ms)).or_default() += 1;
                }
            }
        }
        let count = |(pane_start_ms, rows)| self.partial(None, PartialBody::Rows { pane_start_ms, rows });
        by_pane.into_iter().map(count).collect()
    }
}

impl Queries {
    fn plan(
        inputs: &QuerySpec,
        reference: Option<Arc<Reference>>,
        engine: &QueryEngine,
    ) -> Result<Self, DataFusionError> {
        let plan = |reference: &Arc<Reference>| engine.plan(inputs.clone(), Arc::new(reference.layouts().to_vec()));
        let inputs = reference.as_ref().map(plan).transpose()?;
        let slices = reference.iter().flat_map(|reference| reference.slices());
        let segments = slices.filter_map(|slice| slice.segment.clone()).collect();
        Ok(Self { reference, segments, inputs })
    }
}

impl OutcomeQueries {
    /// Plans both for outcomes with these columns.
    ///
    /// # Errors
    /// When a column is missing or has the wrong type.
    pub(crate) fn plan(
        watched: &WatchedModel,
        segmenter: &Segmenter,
        schema: SchemaRef,
        engine: &QueryEngine,
    ) -> Result<Self, DataFusionError> {
        let task = Arc::new(watched.schema.task.clone());
        let by_pane = QuerySpec {
            schema,
            bin_ms: watched.windows.pane_ms(),
            time: EVENT_TIME.to_owned(),
            tag: OUTCOME_AGE.to_owned(),
            dimensions: segmenter.dimensions().to_vec(),
            arguments: outcome_arguments(watched),
        };
        let by_step = QuerySpec { bin_ms: watched.step_ms, dimensions: Vec::new(), ..by_pane.clone() };
        Ok(Self { by_pane: engine.plan(by_pane, Arc::clone(&task))?, by_step: engine.plan(by_step, task)? })
    }

    /// Runs both over these outcomes.
    ///
    /// # Errors
    /// When an aggregate refuses them.
    pub(crate) fn run(&mut self, engine: &QueryEngine, rows: Vec<RecordBatch>) -> Result<Qualities, DataFusionError> {
        Ok((self.by_pane.run(engine, rows.clone())?, self.by_step.run(engine, rows)?))
    }
}

/// The query that profiles a model's rows: the same for the stream, the archive and references.
pub fn input_query(watched: &WatchedModel, segmenter: &Segmenter) -> QuerySpec {
    let mut fields: Vec<_> = segmenter.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(LATE, DataType::Int64, false)));
    let columns = watched.schema.columns.iter().map(|column| column.name.clone());
    QuerySpec {
        schema: Arc::new(Schema::new(fields)),
        bin_ms: watched.windows.pane_ms(),
        time: EVENT_TIME.to_owned(),
        tag: LATE.to_owned(),
        dimensions: segmenter.dimensions().to_vec(),
        arguments: columns.chain([WRONG_TYPE.to_owned()]).collect(),
    }
}

/// Prediction, scores, label and sign: what the quality of an outcome is computed from.
fn outcome_arguments(watched: &WatchedModel) -> Vec<String> {
    let outputs = watched.schema.columns.iter().filter(|column| column.role != Role::Feature);
    let outputs = outputs.map(|column| column.name.clone());
    outputs.chain([OUTCOME_LABEL.to_owned(), OUTCOME_SIGN.to_owned()]).collect()
}

fn int64<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a arrow::array::Int64Array> {
    batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()
}
