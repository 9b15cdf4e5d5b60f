//! The publisher: keeps the champions where other servers read them, as Triton model repositories.
//!
//! The follower tells it what happens to models; it decides what is due, and a thread for each published model brings that
//! about: it takes the artifact from the object store and writes it into the repository. It neither loads the graph nor
//! answers rows. Whatever a store or a repository does, the follower and the other models do not wait for it.
//!
//! A champion that cannot be published is told once, counted, and tried again at growing distances until it is published or
//! another is due. Champions of the past are not published while the log is still being read: what is served never goes back
//! in time at a start.

use crate::service::IsOwn;
use crate::service::model::ModelSetup;
use anyhow::Result;
use dashboards::telemetry::PublisherTelemetry;
use retrain::lifecycle::{ArtifactId, ModelEvent};
use retrain::registry::{ModelRecord, ModelRegistry, RegistryError};
use retrain::triton::{Publication, publish};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use streams::error_chain::sentence;
use streams::store::{Artifacts, Store};

/// After how long a champion that could not be published is tried again, at first and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// How long a publication under way is waited for when the process ends.
const GRACE: Duration = Duration::from_secs(5);

/// What is published, and what that stands on.
pub(crate) struct Publishing<'a> {
    /// The models.
    pub models: &'a [Arc<ModelSetup>],
    /// Where artifacts are.
    pub store: &'a Arc<Store>,
    /// Who counts.
    pub telemetry: PublisherTelemetry,
    /// Whether it is this process' to do: of several it is that of the one that writes the registry.
    pub is_own: IsOwn,
}

/// Decides what is due.
pub(crate) struct Publisher {
    /// Of the published models alone.
    registry: ModelRegistry,
    threads: BTreeMap<String, PublisherThread>,
    is_own: IsOwn,
    /// Ends when every thread has.
    ended: Receiver<()>,
}

/// A model's thread, from without.
struct PublisherThread {
    due: Sender<Due>,
    /// The version that it was told last.
    told: Option<String>,
}

/// A champion that is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Due {
    version: String,
    number: u64,
    artifact: ArtifactId,
}

impl Publisher {
    /// Starts a thread for each model that is published.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(crate) fn start(publishing: Publishing<'_>) -> Result<Self> {
        let Publishing { models, store, telemetry, is_own } = publishing;
        let (running, ended) = channel();
        let mut threads = BTreeMap::new();
        for model in models {
            let Some(repository) = model.triton.clone() else { continue };
            let (due, orders) = channel();
            let running = running.clone();
            let publisher = ModelPublisher {
                model: model.name().to_owned(),
                repository,
                store: Arc::clone(store),
                telemetry: telemetry.clone(),
                is_own: Arc::clone(&is_own),
                told: None,
            };
            std::thread::Builder::new().name("publisher".to_owned()).spawn(move || {
                publisher.run(&orders);
                drop(running);
            })?;
            threads.insert(model.name().to_owned(), PublisherThread { due, told: None });
        }
        Ok(Self { registry: ModelRegistry::default(), threads, is_own, ended })
    }

    /// Takes note of what happened to a model.
    ///
    /// # Errors
    /// When that contradicts what happened before; the model stays as it was.
    pub(crate) fn model_event(&mut self, event: &ModelEvent) -> Result<(), RegistryError> {
        if self.threads.contains_key(&event.model) { self.registry.apply(event) } else { Ok(()) }
    }

    /// Says that everything that has happened so far is known: hands out what is due.
    pub(crate) fn caught_up(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        let is_own = (self.is_own)();
        for (model, thread) in &mut self.threads {
            let champion = self.registry.model(model).filter(|_| is_own).and_then(champion_of);
            let Some((version, due)) = champion else {
                // Another process may publish meanwhile: whoever comes back to it begins anew.
                thread.told = None;
                continue;
            };
            if thread.told.as_deref() != Some(version) {
                thread.told = Some(version.to_owned());
                thread.hand_out(model, version, due);
            }
        }
    }

    /// Ends the threads after what they are doing, unless that takes too long.
    pub(crate) fn stop(self) {
        drop(self.threads);
        if self.ended.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a champion is still being published: left behind, and done again at the next start");
        }
    }
}

impl PublisherThread {
    fn hand_out(&self, model: &str, version: &str, due: Option<Due>) {
        let Some(due) = due else {
            tracing::info!(model, version, "not published: the champion is served elsewhere and has no artifact here");
            return;
        };
        if self.due.send(due).is_err() {
            tracing::error!(
                model,
                version,
                "the champion is not published: the publisher's thread of the model has ended"
            );
        }
    }
}

/// The champion, and what is due for it; `None` for one without an artifact.
fn champion_of(record: &ModelRecord) -> Option<(&str, Option<Due>)> {
    let champion = record.champion()?;
    let mut numbered = record.versions().iter().zip(1..);
    let due = numbered.find(|(known, _)| known.version.version == champion).and_then(|(known, number)| {
        let (artifact, _) = known.version.artifact.clone()?;
        Some(Due { version: champion.to_owned(), number, artifact })
    });
    Some((champion, due))
}

/// Brings about what is due for one model.
struct ModelPublisher {
    model: String,
    repository: PathBuf,
    store: Arc<Store>,
    telemetry: PublisherTelemetry,
    is_own: IsOwn,
    /// The failure that was told last.
    told: Option<String>,
}

impl ModelPublisher {
    /// Publishes the newest that is due until there will be no more.
    fn run(mut self, orders: &Receiver<Due>) {
        while let Ok(mut due) = orders.recv() {
            let mut pause = FIRST_RETRY;
            loop {
                due = orders.try_iter().last().unwrap_or(due);
                if !(self.is_own)() || self.publish(&due) {
                    break;
                }
                match orders.recv_timeout(pause) {
                    Ok(newer) => (due, pause) = (newer, FIRST_RETRY),
                    Err(RecvTimeoutError::Timeout) => pause = pause.saturating_mul(2).min(LONGEST_RETRY),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }

    /// Whether it could be published; a failure is told once and counted each time.
    fn publish(&mut self, due: &Due) -> bool {
        match self.place(due) {
            Ok(()) => {
                self.telemetry.published(&self.model, &due.version);
                self.told = None;
                true
            }
            Err(error) => {
                let error = sentence(error.as_ref());
                let is_news = self.told.as_ref() != Some(&error);
                self.telemetry.failed(&self.model, &due.version, is_news.then_some(error.as_str()));
                self.told = Some(error);
                false
            }
        }
    }

    fn place(&self, due: &Due) -> Result<()> {
        let artifact = Artifacts::get(self.store.as_ref(), &due.artifact.0)?;
        let publication = Publication { model: &self.model, number: due.number, artifact: &artifact };
        Ok(publish(&self.repository, &publication)?)
    }
}
