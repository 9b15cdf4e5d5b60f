//! `driftline demo`: the whole loop in one process, on a simulated emergency department.
//!
//! A first version is trained on four weeks of arrivals. Then the stream goes on in lock-step with the service: three weeks
//! of the same, a heat wave that changes who comes, and a virus that changes who needs a bed. The terminal tells what the
//! service finds and does; metrics and API are up meanwhile.

mod ending;
pub mod simulation;
mod telling;

use crate::cli::{DemoArgs, Exit, Speed};
use crate::config::Config;
use crate::files::table::TableSpec;
use crate::files::{EncoderSpec, EventId, EventTime, FileColumns, LabelDelay, RowBatch, SourceError};
use crate::output::{note, say};
use crate::replay::{Ending, Replay, ReplaySpec};
use crate::service::bootstrap::Bootstrap;
use crate::service::model::ModelSetup;
use crate::service::trainer_deps::random_name;
use crate::service::{Pace, Service, ServiceContext, ServiceOptions};
use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use ending::Ending as Outcome;
use simulation::{Features, Patient, Phase, Simulation};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use telling::Teller;

/// The model's name.
pub const MODEL: &str = "bed";

/// Rows of one batch of the simulation.
const BATCH_ROWS: usize = 2_000;

/// The configuration of the demo; the log's directory, and the Kafka where one is named, are put in their place.
const CONFIGURATION: &str = include_str!("demo.yaml");

/// Runs the demo.
///
/// # Errors
/// When the service fails. A loop that does not close is no error but an exit code.
pub fn run(args: &DemoArgs, json: bool) -> Result<Exit> {
    let started = Instant::now();
    let temporary =
        tempfile::Builder::new().prefix("driftline-demo-").tempdir().context("making a temporary folder")?;
    let directory = args.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    let context = Arc::new(ServiceContext::open(&configuration(&directory, args.kafka.as_deref())?)?);
    let setup = Arc::clone(context.model(MODEL)?);
    let mut teller = Teller::new(&context.log, json)?;
    teller.opening(&directory);
    let reference = reference(&setup, args.seed)?;
    let mut set_up = Bootstrap::read(&context.log, (&context.store, context.work_folder.path()))?;
    if !set_up.is_done(MODEL) {
        let first = set_up.train(&setup, &reference)?;
        set_up.register(vec![first])?;
    }
    teller.learned(reference.num_rows());
    let listen = Some(free_address(args.listen));
    let service =
        Service::start(Arc::clone(&context), &ServiceOptions { pace: Pace::LockStep, listen, stages: Vec::new() })?;
    teller.listening(service.address());
    let replayed = stream(&service, &setup, (args.seed, &mut teller));
    let outcome = replayed.map(|events| Outcome::of(&teller, events, started.elapsed()));
    if let Ok(outcome) = &outcome {
        outcome.say(&teller);
        if !args.once {
            stay(service.address())?;
        }
    }
    service.shutdown()?;
    let outcome = outcome?;
    if json {
        say(format_args!("{}", serde_json::to_string(&outcome)?))?;
    }
    Ok(if outcome.loop_closed { Exit::Done } else { Exit::Failed })
}

fn configuration(directory: &Path, kafka: Option<&str>) -> Result<Config> {
    let quoted = serde_json::to_string(&directory.to_string_lossy())?;
    let place = match kafka {
        None => "durability: normal".to_owned(),
        // Topics of its own: a demo touches nothing that is there.
        Some(bootstrap) => {
            let prefix = format!("driftline-demo-{}-", random_name());
            let [bootstrap, prefix] = [bootstrap, &prefix].map(serde_json::to_string);
            let (bootstrap, prefix) = (bootstrap?, prefix?);
            // In lock-step every stage waits for the end of what there is.
            let options = "{fetch.wait.max.ms: 10}";
            format!("kafka: {{bootstrap: {bootstrap}, prefix: {prefix}, input_prefix: {prefix}, options: {options}}}")
        }
    };
    let text = CONFIGURATION.replace("DIRECTORY", &quoted).replace("durability: normal", &place);
    Ok(Config::parse(&text, Path::new("demo.yaml"))?)
}

/// The arrivals of the reference phase, with their labels.
fn reference(setup: &ModelSetup, seed: u64) -> Result<RecordBatch> {
    let columns = FileColumns {
        id: Some("id".to_owned()),
        time: EventTime::Column("time".to_owned()),
        label: Some("needs".to_owned()),
        ..FileColumns::default()
    };
    let patients = Simulation::new(seed).take_while(|patient| patient.phase == Phase::Reference);
    TableSpec { file: simulated(), columns }.rows(setup, batches(patients))
}

/// Streams the later phases through the service; returns how many events there were.
fn stream(service: &Service, setup: &Arc<ModelSetup>, (seed, teller): (u64, &mut Teller)) -> Result<u64> {
    let encoder = EncoderSpec {
        file: simulated(),
        model: MODEL.to_owned(),
        version: String::new(),
        schema: setup.watched.schema.clone(),
        renamed: setup.renamed.clone(),
        id: EventId::Column("id".to_owned()),
        time: EventTime::Column("time".to_owned()),
        label: Some("needs".to_owned()),
        label_delay: LabelDelay::Column("known".to_owned()),
        prediction: None,
        scores: Vec::new(),
        segments: Vec::new(),
        partitions: service.context().partitions,
    };
    let spec = ReplaySpec { name: format!("demo-{seed}"), encoder, speed: Speed::Max, ending: Ending::Mark };
    let mut replay = Replay::new(service, setup, spec)?;
    let patients = Simulation::new(seed).filter(|patient| patient.phase != Phase::Reference);
    let place = replay.run(batches(patients), |_, _| teller.read().map(|()| true))?;
    Ok(place.rows)
}

fn simulated() -> PathBuf {
    PathBuf::from("the simulation")
}

/// Patients as the rows of a file would be.
fn batches(patients: impl Iterator<Item = Patient>) -> impl Iterator<Item = Result<RowBatch, SourceError>> {
    let mut patients = patients.peekable();
    let mut first_row = 0;
    std::iter::from_fn(move || {
        patients.peek()?;
        let some: Vec<_> = patients.by_ref().take(BATCH_ROWS).collect();
        let rows = RowBatch { first_row, batch: batch(&some).ok()? };
        first_row += some.len() as u64;
        Some(Ok(rows))
    })
}

fn batch(patients: &[Patient]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let strings = |get: &dyn Fn(&Patient) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(patients.iter().map(get)))
    };
    let moments =
        |get: fn(&Patient) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(patients.iter().map(get))) };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("id", strings(&|patient| patient.id.clone())),
        ("time", moments(|patient| patient.time_ms)),
        ("needs", strings(&|patient| patient.label.to_owned())),
        ("known", moments(|patient| patient.label_time_ms)),
    ];
    for (place, name) in Features::NUMERIC.into_iter().enumerate() {
        let numbers = patients.iter().map(|patient| patient.features.numbers().get(place).copied());
        columns.push((name, Arc::new(Float64Array::from_iter(numbers))));
    }
    for (place, name) in Features::CATEGORICAL.into_iter().enumerate() {
        let category =
            move |patient: &Patient| patient.features.categories().get(place).copied().unwrap_or_default().to_owned();
        columns.push((name, strings(&category)));
    }
    RecordBatch::try_from_iter(columns)
}

/// The address asked for, or any other port where that one is taken: a demo is no reason to stop what listens there.
fn free_address(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}

/// Keeps metrics and API up until the demo is interrupted.
fn stay(address: Option<SocketAddr>) -> Result<()> {
    if let Some(address) = address {
        note(format_args!(
            "\nMetrics at http://{address}/metrics, API at http://{address}/v1/models. Ctrl-C ends the demo."
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::signal::ctrl_c()).context("waiting for Ctrl-C")
}
