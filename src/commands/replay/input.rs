//! What a replay reads: the rows of files with what they are, or labels alone, in the order in which they go.

use super::identity;
use crate::cli::{ReplayArgs, RowOrder};
use crate::commands::WrongUsage;
use crate::commands::reference::archived;
use crate::config::Config;
use crate::files::{
    self, EncoderSpec, EventId, EventTime, Files, LabelDelay, LabelRows, LabelTimes, Lateness, MappedColumns, RowBatch,
    SourceError, TimeOrder, has_column, rfc3339,
};
use crate::output::note;
use crate::service::ServiceContext;
use crate::service::model::ModelSetup;
use anyhow::Result;
use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, Schema};
use codec::columns::{EVENT_ID, EVENT_TIME};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What is replayed.
pub(super) struct Input<'a> {
    pub(super) args: &'a ReplayArgs,
    pub(super) files: Files,
    pub(super) encoder: EncoderSpec,
    /// Whether the files hold labels alone.
    pub(super) is_labels: bool,
    disorder: Duration,
    order: Option<TimeOrder>,
}

/// Rows in the order in which they go.
pub(super) enum Rows {
    /// Events, perhaps with their labels.
    Whole(Box<dyn Iterator<Item = Result<RowBatch, SourceError>>>),
    /// Labels whose predictions are in the log.
    Labels(LabelRows),
}

impl<'a> Input<'a> {
    /// Looks the files through; what was guessed of them is told.
    pub(super) fn read(args: &'a ReplayArgs, setup: &ModelSetup, config: &Config) -> Result<Self> {
        let files = Files::new(&args.files, args.reading.reading())?;
        let rows = files.open()?;
        let model = config.models.values().find(|model| model.name.as_str() == setup.name());
        let mapped = model.map(|model| MappedColumns::of(model, rows.schema())).unwrap_or_default();
        let encoder = encoder(args, &files, (setup, &mapped), config.partitions.get())?;
        let told = rows.notes().iter().chain(&mapped.told);
        told.for_each(|told| note(format_args!("driftline: {}: {told}", rows.file().display())));
        let is_labels = holds_labels_alone(&encoder, rows.schema())?;
        let disorder = config.max_disorder;
        let order = match &encoder.time {
            EventTime::Column(column) => {
                let rows = files.open_columns(&[column])?;
                Some(TimeOrder::of(rows, &files.name(), column, Lateness { disorder, watermark_ms: None })?)
            }
            EventTime::Synthetic { .. } => None,
        };
        Ok(Self { args, files, encoder, is_labels, disorder, order })
    }

    /// Refuses rows of which most lie before the time that the log has come to.
    pub(super) fn refuse_if_late(&self, watermark_ms: Option<i64>) -> Result<()> {
        let (Some(order), EventTime::Column(column), Some(at_ms)) = (&self.order, &self.encoder.time, watermark_ms)
        else {
            return Ok(());
        };
        if self.args.allow_late || self.is_labels || order.span_ms.is_none_or(|(first_ms, _)| first_ms >= at_ms) {
            return Ok(());
        }
        let rows = self.files.open_columns(&[column])?;
        let lateness = Lateness { disorder: self.disorder, watermark_ms };
        let TimeOrder { rows, before, .. } = TimeOrder::of(rows, &self.files.name(), column, lateness)?;
        let file = self.files.name();
        if before * 2 <= rows {
            note(format_args!(
                "driftline: {before} of the {rows} rows of {} lie before {}, which the log has come to, and will be late; files that \
                 follow one another go in one command, or all but the last with --no-end-mark",
                file.display(),
                rfc3339(at_ms)
            ));
            return Ok(());
        }
        Err(WrongUsage(format!(
            "{before} of the {rows} rows of {} lie before {}, which the log has come to by the events of all models: they would be \
             late, in no window; replay them into a log.directory of their own, or before later events, or send them all the same \
             with --allow-late",
            file.display(),
            rfc3339(at_ms)
        ))
        .into())
    }

    /// The rows in their order.
    pub(super) fn rows(&self, context: &Arc<ServiceContext>, setup: &Arc<ModelSetup>) -> Result<Rows> {
        if self.is_labels {
            return Ok(Rows::Labels(self.labels(context, setup)?));
        }
        Ok(Rows::Whole(self.events()?))
    }

    /// The rows as events, in the order of time unless that of the file was asked for.
    pub(super) fn events(&self) -> Result<Box<dyn Iterator<Item = Result<RowBatch, SourceError>>>> {
        let rows = self.files.open()?;
        let behind = self.order.as_ref().and_then(|order| order.first_behind);
        let (Some((row, behind)), EventTime::Column(column), RowOrder::Time) =
            (behind, &self.encoder.time, self.args.order)
        else {
            return Ok(Box::new(rows));
        };
        note(format_args!(
            "driftline: {} is not in the order of time (row {row} is {} behind one before it): its rows go sorted by `{column}`; \
             --order file leaves them as they are",
            self.files.name().display(),
            humantime::format_duration(Duration::from_secs(behind.as_secs()))
        ));
        Ok(Box::new(files::sorted(rows, &self.files.name(), column)?))
    }

    /// The labels; where no column has their times, they come with their predictions, or the delay after them.
    fn labels(&self, context: &Arc<ServiceContext>, setup: &Arc<ModelSetup>) -> Result<LabelRows> {
        let times = match self.label_time() {
            Some(column) => LabelTimes::Column(column.to_owned()),
            None => {
                let delay = self.args.labels.label_delay.unwrap_or_default();
                LabelTimes::After { predictions: times_of_predictions(context, setup)?, delay }
            }
        };
        Ok(LabelRows::read(&self.encoder, &times, self.files.open()?)?)
    }

    /// The column of the times at which labels came.
    pub(super) fn label_time(&self) -> Option<&str> {
        match (&self.args.labels.label_time, &self.encoder.time) {
            (Some(column), _) | (None, EventTime::Column(column)) => Some(column),
            (None, EventTime::Synthetic { .. }) => None,
        }
    }
}

/// Whether rows have labels and nothing that a prediction was made from.
fn holds_labels_alone(encoder: &EncoderSpec, columns: &Schema) -> Result<bool> {
    let column_of = |name: &String| encoder.renamed.get(name).unwrap_or(name).clone();
    let mut features = encoder.schema.features();
    let has_features = features.any(|feature| has_column(columns, &column_of(&feature.name)));
    if encoder.label.is_none() || encoder.prediction.is_some() || has_features {
        return Ok(false);
    }
    let (file, model) = (encoder.file.display(), &encoder.model);
    note(format_args!("driftline: {file} has none of the features of {model}: its labels alone are sent"));
    match encoder.id {
        EventId::Column(_) => Ok(true),
        EventId::RowOf(_) => {
            Err(WrongUsage("labels alone are known by their ids: name the column with --id".to_owned()).into())
        }
    }
}

/// The times of all predictions of a model that are in the log or its archive, by id.
fn times_of_predictions(context: &Arc<ServiceContext>, setup: &Arc<ModelSetup>) -> Result<HashMap<String, i64>> {
    let rows = archived(context, setup, i64::MIN..i64::MAX)?;
    let ids = rows.column_by_name(EVENT_ID).and_then(|ids| ids.as_string_opt::<i32>());
    let times = rows.column_by_name(EVENT_TIME).and_then(|times| times.as_primitive_opt::<Int64Type>());
    let pairs = ids.into_iter().flatten().zip(times.into_iter().flat_map(|times| times.iter()));
    Ok(pairs.filter_map(|(id, time_ms)| Some((id?.to_owned(), time_ms?))).collect())
}

fn encoder(
    args: &ReplayArgs,
    files: &Files,
    (setup, mapped): (&ModelSetup, &MappedColumns),
    partitions: u32,
) -> Result<EncoderSpec> {
    let columns = args.file_columns()?.or(&mapped.columns);
    let schema = setup.watched.schema.clone();
    let delay = &args.labels;
    let label_delay = match (delay.label_delay_rows, delay.label_delay, &delay.label_time) {
        (_, Some(delay), _) => LabelDelay::Time(delay),
        (_, _, Some(column)) => LabelDelay::Column(column.clone()),
        (rows, None, None) => LabelDelay::Rows(rows.unwrap_or(0)),
    };
    let scores = columns.scores.in_order(&schema.task)?;
    let version = args.model_version.as_ref().or(mapped.version.as_ref());
    let version = version.cloned().unwrap_or_else(|| "default".to_owned());
    let file = files.lasting_name()?;
    let id = columns.id.map_or_else(|| EventId::RowOf(identity(&file)), EventId::Column);
    Ok(EncoderSpec {
        file,
        model: setup.name().to_owned(),
        version,
        schema,
        renamed: mapped.renamed.clone(),
        id,
        time: columns.time,
        label: columns.label,
        label_delay,
        prediction: columns.prediction,
        scores,
        segments: columns.segments,
        partitions,
    })
}
