//! The aggregate that fills a window: one variadic DataFusion UDAF, whatever the window holds.
//!
//! The stream, a query over the archive and a backfill run this same function, so that they agree to the bit. What it
//! fills is a [`WindowState`]: the profile of the inputs, the quality of the outcomes, or the moments of a step.
//!
//! What travels between partial and final aggregates is the state in MessagePack. The value of the function is the place of a
//! state in [`Filled`], which whoever planned the query empties: a state is larger than the rows of many a group, and to
//! write it and read it again would cost more than to fill it.
//!
//! It deliberately knows nothing of windows, segments or watermarks: those are the query's `GROUP BY`.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int8Array, UInt64Array};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, FieldRef, Int8Type};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use detectors::layout::ColumnLayout;
use detectors::moments::StepMoments;
use detectors::profile::{Observed, Profile, observe_groups};
use detectors::quality::{Outcomes, Quality, observe_steps};
use detectors::schema::Task;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

type BoxError = Box<dyn Error + Send + Sync>;

/// A mergeable summary that rows are counted into.
pub trait WindowState: Debug + Clone + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// What must be known to count: edges and categories, or the task.
    type Spec: Debug + Send + Sync + 'static;

    /// The name of the SQL function.
    const NAME: &'static str;

    /// The summary of no rows.
    fn empty(spec: &Self::Spec) -> Self;

    /// Counts row `i` of the columns into `states[groups[i]]`.
    ///
    /// # Errors
    /// When the columns are not those that the specification describes.
    fn observe(states: &mut [Self], groups: &[usize], spec: &Self::Spec, columns: &[ArrayRef]) -> Result<(), BoxError>;

    /// Adds another summary of the same specification.
    ///
    /// # Errors
    /// When the two cannot be added.
    fn merge(&mut self, other: &Self) -> Result<(), BoxError>;
}

/// Columns: those of the layouts in order, then the list of wrong-typed places.
impl WindowState for Profile {
    type Spec = Vec<ColumnLayout>;
    const NAME: &'static str = "profile";

    fn empty(layouts: &Self::Spec) -> Self {
        Self::empty(layouts)
    }

    fn observe(
        states: &mut [Self],
        groups: &[usize],
        layouts: &Self::Spec,
        columns: &[ArrayRef],
    ) -> Result<(), BoxError> {
        let (wrong_type, columns) = columns.split_last().ok_or("profile() needs columns")?;
        Ok(observe_groups(states, groups, &Observed { layouts, columns, wrong_type })?)
    }

    fn merge(&mut self, other: &Self) -> Result<(), BoxError> {
        Ok(self.merge(other)?)
    }
}

/// Columns: prediction, scores in the task's order, label, sign.
impl WindowState for Quality {
    type Spec = Task;
    const NAME: &'static str = "quality";

    fn empty(task: &Task) -> Self {
        Self::empty(task)
    }

    fn observe(states: &mut [Self], groups: &[usize], task: &Task, columns: &[ArrayRef]) -> Result<(), BoxError> {
        Ok(Self::observe_groups(states, groups, &outcomes(task, columns)?)?)
    }

    fn merge(&mut self, other: &Self) -> Result<(), BoxError> {
        Ok(self.merge(other)?)
    }
}

/// Columns: as for [`Quality`].
impl WindowState for StepMoments {
    type Spec = Task;
    const NAME: &'static str = "step_moments";

    fn empty(_task: &Task) -> Self {
        Self::default()
    }

    fn observe(states: &mut [Self], groups: &[usize], task: &Task, columns: &[ArrayRef]) -> Result<(), BoxError> {
        Ok(observe_steps(states, groups, &outcomes(task, columns)?)?)
    }

    fn merge(&mut self, other: &Self) -> Result<(), BoxError> {
        self.merge(other);
        Ok(())
    }
}

fn outcomes<'a>(task: &'a Task, columns: &'a [ArrayRef]) -> Result<Outcomes<'a>, BoxError> {
    let [prediction, scores @ .., label, sign] = columns else {
        return Err("quality() needs a prediction, the scores, a label and a sign".into());
    };
    let sign: &Int8Array = sign.as_primitive_opt::<Int8Type>().ok_or("the sign must be Int8")?;
    Ok(Outcomes { task, prediction, scores, label, sign })
}

/// The states that a query has filled.
#[derive(Debug)]
pub struct Filled<S>(Arc<Mutex<Vec<S>>>);

impl<S> Default for Filled<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S> Clone for Filled<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Filled<S> {
    /// Takes all of them out; the function's values are their places.
    pub fn take(&self) -> Vec<S> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds states; their places.
    fn add(&self, states: Vec<S>) -> UInt64Array {
        let mut filled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = filled.len() as u64;
        filled.extend(states);
        UInt64Array::from_iter_values(first..filled.len() as u64)
    }
}

/// The SQL function that fills `S` by this specification.
pub fn aggregate_function<S: WindowState>(spec: Arc<S::Spec>, filled: Filled<S>) -> AggregateUDF {
    let signature = Signature::variadic_any(Volatility::Immutable);
    AggregateUDF::new_from_impl(WindowAggregate { spec, signature, filled })
}

fn decode_state<S: WindowState>(bytes: &[u8]) -> Result<S> {
    rmp_serde::from_slice(bytes).map_err(|error| DataFusionError::External(Box::new(error)))
}

fn encode_state<S: WindowState>(state: &S) -> Result<Vec<u8>> {
    rmp_serde::to_vec(state).map_err(|error| DataFusionError::External(Box::new(error)))
}

#[derive(Debug)]
struct WindowAggregate<S: WindowState> {
    spec: Arc<S::Spec>,
    signature: Signature,
    filled: Filled<S>,
}

/// Two are the same when they count against the same specification.
impl<S: WindowState> PartialEq for WindowAggregate<S> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.spec, &other.spec)
    }
}

impl<S: WindowState> Eq for WindowAggregate<S> {}

impl<S: WindowState> Hash for WindowAggregate<S> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        Arc::as_ptr(&self.spec).hash(hasher);
    }
}

impl<S: WindowState> AggregateUDFImpl for WindowAggregate<S> {
    fn name(&self) -> &str {
        S::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[state]", arguments.name), DataType::Binary, true))])
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let (spec, filled) = (Arc::clone(&self.spec), self.filled.clone());
        Ok(Box::new(OneGroup { states: [S::empty(&spec)], spec, filled, groups: Vec::new() }))
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(ManyGroups { states: Vec::new(), spec: Arc::clone(&self.spec), filled: self.filled.clone() }))
    }
}

/// The accumulator of a query without `GROUP BY`.
#[derive(Debug)]
struct OneGroup<S: WindowState> {
    states: [S; 1],
    spec: Arc<S::Spec>,
    filled: Filled<S>,
    /// All zeros, as long as the longest batch so far.
    groups: Vec<usize>,
}

impl<S: WindowState> Accumulator for OneGroup<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |column| column.len());
        self.groups.resize(rows, 0);
        S::observe(&mut self.states, &self.groups, &self.spec, values).map_err(DataFusionError::External)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let place = self.filled.add(vec![self.states[0].clone()]);
        ScalarValue::try_from_array(&place, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(encode_state(&self.states[0])?))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [encoded] = states else { return Err(one_state_column()) };
        for bytes in encoded.as_binary::<i32>().iter().flatten() {
            self.states[0].merge(&decode_state(bytes)?).map_err(DataFusionError::External)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct ManyGroups<S: WindowState> {
    states: Vec<S>,
    spec: Arc<S::Spec>,
    filled: Filled<S>,
}

impl<S: WindowState> ManyGroups<S> {
    fn grow_to(&mut self, groups: usize) {
        self.states.resize_with(groups, || S::empty(&self.spec));
    }
}

impl<S: WindowState> GroupsAccumulator for ManyGroups<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        only: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow_to(total);
        let observed = match only {
            None => S::observe(&mut self.states, groups, &self.spec, values),
            Some(only) => {
                let (values, groups) = keep(values, groups, only)?;
                S::observe(&mut self.states, &groups, &self.spec, &values)
            }
        };
        observed.map_err(DataFusionError::External)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(self.filled.add(emit.take_needed(&mut self.states))))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let states = emit.take_needed(&mut self.states);
        let encoded = states.iter().map(encode_state).collect::<Result<Vec<_>>>()?;
        Ok(vec![Arc::new(BinaryArray::from_iter_values(encoded))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow_to(total);
        let [encoded] = values else { return Err(one_state_column()) };
        for (bytes, group) in encoded.as_binary::<i32>().iter().zip(groups) {
            let (Some(bytes), Some(state)) = (bytes, self.states.get_mut(*group)) else { continue };
            state.merge(&decode_state(bytes)?).map_err(DataFusionError::External)?;
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], only: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |column| column.len());
        let mut each = Self { states: Vec::new(), spec: Arc::clone(&self.spec), filled: Filled::default() };
        each.update_batch(values, &(0..rows).collect::<Vec<_>>(), only, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.states.capacity() * size_of::<S>()
    }
}

fn keep(values: &[ArrayRef], groups: &[usize], only: &BooleanArray) -> Result<(Vec<ArrayRef>, Vec<usize>)> {
    let kept = values.iter().map(|column| Ok(filter(column, only)?)).collect::<Result<Vec<_>>>()?;
    let is_kept = |row: &usize| only.is_valid(*row) && only.value(*row);
    let groups = groups.iter().enumerate().filter(|(row, _)| is_kept(row)).map(|(_, group)| *group).collect();
    Ok((kept, groups))
}

fn one_state_column() -> DataFusionError {
    DataFusionError::Internal("the state of a window is one binary column".to_owned())
}
