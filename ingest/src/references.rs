//! Which reference a version's rows are held against.
//!
//! Learned references are announced on the `models` topic and kept as artifacts. A version without one of its own is held
//! against its model's default, the champion's, and its verdicts say so. Other lifecycle events pass by unread.

use crate::log::Record;
use crate::stage::{ResumePoint, StageError};
use crate::store::Artifacts;
use crate::topics;
use detectors::reference::Reference;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// References are read from the start of `models` after every restart: they are kept nowhere else.
pub(crate) fn resume_point() -> ResumePoint {
    ResumePoint { topic: topics::MODELS.to_owned(), partition: 0, offset: 0 }
}

/// A reference and the right by which it is used.
#[derive(Debug, Clone)]
pub struct ChosenReference {
    /// The reference.
    pub reference: Arc<Reference>,
    /// Whether it belongs to another version.
    pub borrowed: bool,
}

/// The references of all models, as far as `models` has been read.
pub struct ReferenceBook {
    shelf: Arc<ReferenceShelf>,
    models: BTreeMap<String, ModelReferences>,
}

/// References by their artifacts, each held once for all books of a process: every partition of a stage has its own book.
pub struct ReferenceShelf {
    artifacts: Arc<dyn Artifacts>,
    by_artifact: Mutex<HashMap<String, Arc<Reference>>>,
}

#[derive(Default)]
struct ModelReferences {
    by_version: BTreeMap<String, Arc<Reference>>,
    /// Every one announced; partials may still name one that has been replaced.
    all: Vec<Arc<Reference>>,
    champion: Option<String>,
    latest: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    data: News,
}

#[derive(Deserialize)]
struct News {
    model: String,
    #[serde(flatten)]
    event: Event,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Event {
    ReferenceLearned {
        version: String,
        artifact: String,
    },
    Promoted {
        version: String,
    },
    RolledBack {
        version: String,
    },
    #[serde(other)]
    Other,
}

impl ReferenceBook {
    /// A book without references.
    pub fn new(shelf: Arc<ReferenceShelf>) -> Self {
        Self { shelf, models: BTreeMap::new() }
    }

    /// Takes in a record of `models`; says which model's references changed.
    ///
    /// # Errors
    /// When the record or the reference's artifact cannot be read.
    pub fn absorb(&mut self, record: &Record) -> Result<Option<String>, StageError> {
        let Some(value) = &record.value else { return Ok(None) };
        let unreadable = |reason: String| StageError::Unreadable {
            topic: topics::MODELS.to_owned(),
            partition: 0,
            offset: record.offset,
            reason,
        };
        let Envelope { data } = serde_json::from_slice(value).map_err(|error| unreadable(error.to_string()))?;
        let model = self.models.entry(data.model.clone()).or_default();
        match data.event {
            Event::ReferenceLearned { version, artifact } => {
                let reference = self.shelf.reference(&artifact, unreadable)?;
                model.all.push(Arc::clone(&reference));
                model.by_version.insert(version.clone(), reference);
                model.latest = Some(version);
            }
            Event::Promoted { version } | Event::RolledBack { version } => model.champion = Some(version),
            Event::Other => return Ok(None),
        }
        Ok(Some(data.model))
    }

    /// The reference for a version's rows; `None` while the model has none at all.
    pub fn choose(&self, model: &str, version: &str) -> Option<ChosenReference> {
        let model = self.models.get(model)?;
        if let Some(own) = model.by_version.get(version) {
            return Some(ChosenReference { reference: Arc::clone(own), borrowed: false });
        }
        let of_champion = model.champion.as_ref().and_then(|champion| model.by_version.get(champion));
        let latest = || model.latest.as_ref().and_then(|latest| model.by_version.get(latest));
        let reference = Arc::clone(of_champion.or_else(latest)?);
        Some(ChosenReference { reference, borrowed: true })
    }

    /// The reference of that id, for a version's rows.
    pub fn by_id(&self, model: &str, version: &str, id: &str) -> Option<ChosenReference> {
        let mut announced = self.models.get(model)?.all.iter();
        let reference = Arc::clone(announced.find(|reference| reference.id() == id)?);
        let borrowed = reference.version() != version;
        Some(ChosenReference { reference, borrowed })
    }

    /// The version that answers in production, as far as `models` has been read.
    pub fn champion(&self, model: &str) -> Option<&str> {
        self.models.get(model)?.champion.as_deref()
    }
}

impl ReferenceShelf {
    /// A shelf that holds nothing yet.
    pub fn new(artifacts: Arc<dyn Artifacts>) -> Arc<Self> {
        Arc::new(Self { artifacts, by_artifact: Mutex::default() })
    }

    /// The reference of an artifact. Nobody waits for another's reading: a store that hangs would have them wait in turn.
    fn reference(
        &self,
        artifact: &str,
        unreadable: impl Fn(String) -> StageError,
    ) -> Result<Arc<Reference>, StageError> {
        if let Some(held) = self.held().get(artifact) {
            return Ok(Arc::clone(held));
        }
        let bytes = self.artifacts.get(artifact).map_err(|error| StageError::failed("reading a reference", error))?;
        let reference = Reference::from_bytes(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let mut held = self.held();
        Ok(Arc::clone(held.entry(artifact.to_owned()).or_insert_with(|| Arc::new(reference))))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Arc<Reference>>> {
        self.by_artifact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn books_of_a_shelf_hold_the_same_reference_and_know_what_each_has_read() {
        let announced = fixtures::announced(&Arc::new(fixtures::watched()));
        let shelf = ReferenceShelf::new(Arc::clone(&announced.artifacts) as _);
        let [mut first, mut second] = [Arc::clone(&shelf), shelf].map(ReferenceBook::new);
        let chosen = |book: &ReferenceBook| book.choose(fixtures::MODEL, "1").map(|chosen| chosen.reference);
        first.absorb(&announced.record).unwrap();
        assert!(chosen(&second).is_none(), "the second has not read of it");
        second.absorb(&announced.record).unwrap();
        assert!(Arc::ptr_eq(&chosen(&first).unwrap(), &chosen(&second).unwrap()));
    }
}
