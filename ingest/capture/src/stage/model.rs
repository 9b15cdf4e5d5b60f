//! What capture holds of one model: its joins, the queries that profile its rows, and what the epoch's amount to so far.

use super::CaptureError;
use super::input_query::{InputQuery, LATE, Order};
use super::rows::{CountedRows, PreparedRows};
use super::versions::MOST_VERSIONS;
use crate::join::{
    KeptColumns, LabelJoin, LabelSpace, OUTCOME_AFTER, OUTCOME_AFTER_STEP, OUTCOME_LABEL, OUTCOME_SIGN, outcome_schema,
};
use crate::partial::{Partial, PartialBody};
use crate::references::ChosenReference;
use crate::segments::{Segmenter, known_segment};
use crate::watched::WatchedModel;
use crate::window_query::aggregate::WindowState;
use crate::window_query::{Cell, QueryEngine, QuerySpec, WindowQuery};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::row::Rows;
use codec::columns::{self, EVENT_TIME};
use datafusion::common::DataFusionError;
use detectors::moments::StepMoments;
use detectors::profile::Profile;
use detectors::quality::Quality;
use detectors::reference::Reference;
use detectors::schema::Role;
use detectors::verdict::Segment;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use streams::log::PartitionId;
use streams::stage::StageError;

/// Rows beside which what a query costs by itself is little, and what it counts against is worth its way from memory.
const QUERY_ROWS: usize = 1_024;

pub(super) struct CaptureModel {
    pub(super) watched: Arc<WatchedModel>,
    pub(super) segmenter: Segmenter,
    pub(super) joins: HashMap<PartitionId, LabelJoin>,
    versions: BTreeMap<Arc<str>, Version>,
    /// What profiles the inputs of any version, held against its reference.
    inputs: InputQuery,
    /// What profiles the outcomes of any version; `None` before there was one.
    outcomes: Option<OutcomeQueries>,
    /// Indices of the columns that the join keeps of a prediction, and what turns them into rows.
    kept: Vec<usize>,
    kept_columns: Arc<KeptColumns>,
    /// Where the joins hold their ids.
    space: Arc<LabelSpace>,
}

/// What the epoch holds of one version.
#[derive(Default)]
struct Version {
    counted: Option<Counted>,
    /// Against references that others have replaced in the middle of the epoch.
    replaced: Vec<Partial>,
    outcomes: Vec<RecordBatch>,
}

/// The epoch's rows of one version as they count against one reference.
struct Counted {
    reference: Option<Arc<Reference>>,
    /// The segments that the reference knows.
    segments: Arc<BTreeSet<Segment>>,
    /// What profiles rows, and how they are put for it; `None` where there is no reference.
    inputs: Option<(WindowQuery<Profile>, Order)>,
    /// Rows that wait until they are worth a query, and how many.
    waiting: (Vec<RecordBatch>, usize),
    profiles: Windows<Profile>,
    /// Rows by pane, before there is a reference to profile them against.
    rows: BTreeMap<i64, i64>,
}

/// Summaries by start, tag and segment.
type Windows<S> = BTreeMap<(i64, i64, Option<Segment>), S>;

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
        let inputs = InputQuery::new(&watched, &segmenter);
        let (joins, versions, space) = (HashMap::new(), BTreeMap::new(), Arc::clone(space));
        Ok(Self { watched, segmenter, joins, versions, inputs, outcomes: None, kept, kept_columns, space })
    }

    /// The join of a partition, where the model has labels.
    pub(super) fn join(&mut self, partition: PartitionId) -> Option<&mut LabelJoin> {
        let watched = &self.watched;
        let policy = watched.labels.as_ref()?;
        let new = || LabelJoin::new(policy.clone(), watched.dues(), Arc::clone(&self.kept_columns), &self.space);
        Some(self.joins.entry(partition).or_insert_with(new))
    }

    /// Whether a column of predictions is kept for their outcomes, or segments follow from it.
    pub(super) fn needs(&self, column: &str) -> bool {
        let schema = self.segmenter.schema();
        self.kept.iter().any(|place| schema.field(*place).name() == column) || self.segmenter.reads(column)
    }

    /// The columns of predictions that their outcomes need, row by row.
    pub(super) fn kept_rows(&self, batch: &RecordBatch) -> Result<Rows, StageError> {
        let rows = batch.project(&self.kept).and_then(|kept| self.kept_columns.rows(&kept));
        rows.map_err(|error| StageError::failed("keeping predictions", error))
    }

    /// The rows that count, as its query reads them.
    pub(super) fn finish(&self, rows: PreparedRows) -> Result<CountedRows, StageError> {
        rows.finish(&self.inputs)
    }

    /// Lets go of what is kept for the next epoch of versions that are not told apart any more.
    pub(super) fn forget_versions(&mut self, is_kept: impl Fn(&str) -> bool) {
        if self.versions.len() > MOST_VERSIONS {
            self.versions.retain(|version, _| is_kept(version));
        }
    }

    /// Counts rows into the epoch, against the reference chosen for them, or has them wait for others. How many values wait
    /// then that did not before.
    pub(super) fn count(
        &mut self,
        version: &Arc<str>,
        rows: RecordBatch,
        (chosen, engine): (Option<ChosenReference>, &QueryEngine),
    ) -> Result<usize, StageError> {
        let pane_ms = self.watched.windows.pane_ms();
        let counted = self.counted(version, (chosen, engine)).and_then(|counted| counted.add(rows, pane_ms, engine));
        counted.map_err(|error| self.failed(version, error))
    }

    /// Counts the rows that wait.
    pub(super) fn count_waiting(&mut self, engine: &QueryEngine) -> Result<(), StageError> {
        let name = &self.watched.name;
        for (version, state) in &mut self.versions {
            let counted = state.counted.as_mut().map_or(Ok(()), |counted| counted.profile(engine));
            counted.map_err(|error| StageError::failed(format!("profiling {name} {version}"), error))?;
        }
        Ok(())
    }

    fn failed(&self, version: &str, error: DataFusionError) -> StageError {
        StageError::failed(format!("profiling {} {version}", self.watched.name), error)
    }

    /// The epoch's rows of a version as they count against this reference.
    fn counted(
        &mut self,
        version: &Arc<str>,
        (chosen, engine): (Option<ChosenReference>, &QueryEngine),
    ) -> Result<&mut Counted, DataFusionError> {
        let reference = chosen.map(|chosen| chosen.reference);
        let state = self.versions.entry(Arc::clone(version)).or_default();
        if let Some(mut before) = state.counted.take_if(|counted| !counted.is_against(reference.as_ref())) {
            state.replaced.extend(before.take((&self.watched.name, version), engine)?);
        }
        match &mut state.counted {
            Some(counted) => Ok(counted),
            none => Ok(none.insert(Counted::plan(&self.inputs, reference, engine)?)),
        }
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

    /// Forgets labelled rows, which were sent before a restart.
    pub(super) fn discard(&mut self) {
        self.joins.values_mut().for_each(LabelJoin::discard_outcomes);
        self.versions.values_mut().for_each(|version| version.outcomes.clear());
    }

    /// The versions that have rows in this epoch.
    pub(super) fn touched_versions(&self) -> Vec<Arc<str>> {
        let touched = |(_, version): &(&Arc<str>, &Version)| {
            let counted = version.counted.as_ref().is_some_and(|counted| !counted.is_empty());
            counted || !version.replaced.is_empty() || !version.outcomes.is_empty()
        };
        self.versions.iter().filter(touched).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// What the epoch's rows of a version amount to; its outcomes count against the reference chosen for it.
    pub(super) fn partials(
        &mut self,
        version: &Arc<str>,
        chosen: (Option<ChosenReference>, &QueryEngine),
    ) -> Result<Vec<Partial>, StageError> {
        self.epoch_of(version, chosen).map_err(|error| self.failed(version, error))
    }

    fn epoch_of(
        &mut self,
        version: &Arc<str>,
        (chosen, engine): (Option<ChosenReference>, &QueryEngine),
    ) -> Result<Vec<Partial>, DataFusionError> {
        let name = Arc::clone(&self.watched.name);
        let counted = self.counted(version, (chosen, engine))?;
        let mut partials = counted.take((&name, version), engine)?;
        let (reference, segments) = (counted.reference_id(), Arc::clone(&counted.segments));
        let state = self.versions.entry(Arc::clone(version)).or_default();
        partials.append(&mut state.replaced);
        let outcomes = std::mem::take(&mut state.outcomes);
        if outcomes.is_empty() {
            return Ok(partials);
        }
        let (qualities, steps) = self.profile_outcomes(outcomes, engine)?;
        let named = Named { model: &name, version, reference };
        let (mut by_pane, mut by_step) = (Windows::new(), Windows::new());
        add_cells(&mut by_pane, qualities, &segments)?;
        add_cells(&mut by_step, steps, &segments)?;
        partials.extend(named.qualities(by_pane));
        partials.extend(named.steps(by_step));
        Ok(partials)
    }

    fn profile_outcomes(
        &mut self,
        outcomes: Vec<RecordBatch>,
        engine: &QueryEngine,
    ) -> Result<Qualities, DataFusionError> {
        let queries = match self.outcomes.take() {
            Some(planned) => planned,
            None => {
                let predictions = self.segmenter.schema().project(&self.kept)?;
                let schema = outcome_schema(&Arc::new(predictions), self.watched.schema.task.outcome_kind());
                OutcomeQueries::plan(&self.watched, &self.segmenter, schema, engine)?
            }
        };
        self.outcomes.insert(queries).run(engine, outcomes)
    }
}

impl Counted {
    fn plan(
        inputs: &InputQuery,
        reference: Option<Arc<Reference>>,
        engine: &QueryEngine,
    ) -> Result<Self, DataFusionError> {
        let plan = |reference: &Arc<Reference>| {
            let (spec, order) = inputs.in_order_of(reference.schema());
            Ok::<_, DataFusionError>((engine.plan(spec, Arc::new(reference.layouts().to_vec()))?, order))
        };
        let inputs = reference.as_ref().map(plan).transpose()?;
        let slices = reference.iter().flat_map(|reference| reference.slices());
        let segments = Arc::new(slices.filter_map(|slice| slice.segment.clone()).collect());
        let (waiting, profiles, rows) = ((Vec::new(), 0), BTreeMap::new(), BTreeMap::new());
        Ok(Self { reference, segments, inputs, waiting, profiles, rows })
    }

    fn is_against(&self, reference: Option<&Arc<Reference>>) -> bool {
        self.reference.as_ref().map(|own| own.id()) == reference.map(|other| other.id())
    }

    fn reference_id(&self) -> Option<String> {
        self.reference.as_ref().map(|reference| reference.id().to_owned())
    }

    fn is_empty(&self) -> bool {
        self.waiting.0.is_empty() && self.profiles.is_empty() && self.rows.is_empty()
    }

    /// Counts rows, or has them wait: how many values of them do.
    fn add(&mut self, rows: RecordBatch, pane_ms: i64, engine: &QueryEngine) -> Result<usize, DataFusionError> {
        let Some((_, order)) = &self.inputs else {
            count_rows(&mut self.rows, &rows, pane_ms);
            return Ok(0);
        };
        let rows = order.apply(rows)?;
        let values = rows.num_rows() * rows.num_columns();
        let (batches, waiting) = &mut self.waiting;
        *waiting += rows.num_rows();
        batches.push(rows);
        if *waiting < QUERY_ROWS { Ok(values) } else { self.profile(engine).map(|()| 0) }
    }

    fn profile(&mut self, engine: &QueryEngine) -> Result<(), DataFusionError> {
        let (rows, _) = std::mem::take(&mut self.waiting);
        match &mut self.inputs {
            Some((inputs, _)) if !rows.is_empty() => {
                add_cells(&mut self.profiles, inputs.run(engine, rows)?, &self.segments)
            }
            _ => Ok(()),
        }
    }

    /// Hands over what was counted.
    fn take(
        &mut self,
        (model, version): (&Arc<str>, &Arc<str>),
        engine: &QueryEngine,
    ) -> Result<Vec<Partial>, DataFusionError> {
        self.profile(engine)?;
        let named = Named { model, version, reference: self.reference_id() };
        let (profiles, rows) = (std::mem::take(&mut self.profiles), std::mem::take(&mut self.rows));
        let rows = rows.into_iter().map(|(pane_start_ms, rows)| PartialBody::Rows { pane_start_ms, rows });
        let mut partials = named.profiles(profiles);
        partials.extend(rows.map(|body| named.partial(None, body)));
        Ok(partials)
    }
}

/// Adds what a query has counted, with segments that the reference does not know gathered in one.
fn add_cells<S: WindowState>(
    windows: &mut Windows<S>,
    cells: Vec<Cell<S>>,
    known: &BTreeSet<Segment>,
) -> Result<(), DataFusionError> {
    for Cell { start_ms, tag, segment, state } in cells {
        let segment = segment.map(|segment| known_segment(segment, |segment| known.contains(segment)));
        match windows.entry((start_ms, tag, segment)) {
            Entry::Vacant(vacant) => {
                vacant.insert(state);
            }
            Entry::Occupied(mut occupied) => {
                occupied.get_mut().merge(&state).map_err(DataFusionError::External)?;
            }
        }
    }
    Ok(())
}

/// Counts the rows of each pane that are not late.
fn count_rows(by_pane: &mut BTreeMap<i64, i64>, rows: &RecordBatch, pane_ms: i64) {
    let (Some(times), Some(late)) = (int64(rows, EVENT_TIME), int64(rows, LATE)) else { return };
    for (time, _) in times.values().iter().zip(late.values()).filter(|(_, late)| **late == 0) {
        *by_pane.entry(detectors::windows::floor_to(*time, pane_ms)).or_default() += 1;
    }
}

/// Whose partials they are.
struct Named<'a> {
    model: &'a Arc<str>,
    version: &'a Arc<str>,
    reference: Option<String>,
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

    fn profiles(&self, windows: Windows<Profile>) -> Vec<Partial> {
        self.partials(windows, |pane_start_ms, tag, profile| PartialBody::Inputs {
            pane_start_ms,
            late: tag != 0,
            profile,
        })
    }

    fn qualities(&self, windows: Windows<Quality>) -> Vec<Partial> {
        self.partials(windows, |pane_start_ms, tag, quality| PartialBody::Outcomes {
            pane_start_ms,
            after: u32::try_from(tag).unwrap_or(u32::MAX),
            quality,
        })
    }

    fn steps(&self, windows: Windows<StepMoments>) -> Vec<Partial> {
        self.partials(windows, |step_start_ms, tag, moments| PartialBody::Step {
            step_start_ms,
            after: u32::try_from(tag).unwrap_or(u32::MAX),
            moments,
        })
    }

    fn partials<S>(&self, windows: Windows<S>, body: impl Fn(i64, i64, S) -> PartialBody) -> Vec<Partial> {
        let partial = |((start, tag, segment), state)| self.partial(segment, body(start, tag, state));
        windows.into_iter().map(partial).collect()
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
            tag: OUTCOME_AFTER.to_owned(),
            dimensions: segmenter.dimensions().to_vec(),
            arguments: outcome_arguments(watched),
        };
        let tag = OUTCOME_AFTER_STEP.to_owned();
        let by_step = QuerySpec { bin_ms: watched.step_ms, tag, dimensions: Vec::new(), ..by_pane.clone() };
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

/// Prediction, scores, label and sign: what the quality of an outcome is computed from.
fn outcome_arguments(watched: &WatchedModel) -> Vec<String> {
    let outputs = watched.schema.columns.iter().filter(|column| column.role != Role::Feature);
    let outputs = outputs.map(|column| column.name.clone());
    outputs.chain([OUTCOME_LABEL.to_owned(), OUTCOME_SIGN.to_owned()]).collect()
}

fn int64<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a arrow::array::Int64Array> {
    batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()
}
