//! Which reference a version's rows are held against.
//!
//! Learned references are announced on the `models` topic and kept as artifacts. A version without one of its own is held
//! against its model's default, the champion's, and its verdicts say so. Other lifecycle events pass by unread.
//!
//! A model's configuration may change after its reference was learned. Columns are matched by name, whatever their order; a
//! reference of other columns, another task or other windows is not chosen, and why is kept for whoever tells of it.

use crate::watched::WatchedModel;
use detectors::reference::Reference;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use streams::error_chain::sentence;
use streams::log::Record;
use streams::stage::{ResumePoint, StageError};
use streams::store::Artifacts;
use streams::topics;

/// References are read from the start of `models` after every restart: they are kept nowhere else.
pub fn resume_point() -> ResumePoint {
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
pub struct ReferenceRegistry {
    shelf: Arc<ReferenceCache>,
    /// What references have to fit; one of a model that is not among these fits always.
    watched: BTreeMap<Arc<str>, Arc<WatchedModel>>,
    models: BTreeMap<String, ModelReferences>,
}

/// A reference that was announced.
enum Announced {
    /// The model as it is configured can be held against it.
    Fits(Arc<Reference>),
    /// It cannot, for this reason.
    Misfit(String),
    /// It cannot be had.
    Lost(Loss),
}

/// Why a reference cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Loss {
    artifact: String,
    reason: String,
}

/// References by their artifacts, each held once for all books of a process: every partition of a stage has its own book.
pub struct ReferenceCache {
    artifacts: Arc<dyn Artifacts>,
    by_artifact: Mutex<HashMap<String, Arc<Reference>>>,
    /// Artifacts that cannot be had and have been told of.
    told: Mutex<BTreeSet<String>>,
}

#[derive(Default)]
struct ModelReferences {
    by_version: BTreeMap<String, Announced>,
    /// Every one announced; partials may still name one that has been replaced.
    all: Vec<Arc<Reference>>,
    /// Whether there is one that cannot be had; partials may name it too.
    has_lost: bool,
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

impl ReferenceRegistry {
    /// A book without references.
    pub fn new(shelf: Arc<ReferenceCache>) -> Self {
        Self { shelf, watched: BTreeMap::new(), models: BTreeMap::new() }
    }

    /// The same book, which is to choose references that fit these models as they are configured. Nothing was read yet.
    #[must_use]
    pub fn watching<'a>(mut self, models: impl IntoIterator<Item = &'a Arc<WatchedModel>>) -> Self {
        self.watched = models.into_iter().map(|model| (Arc::clone(&model.name), Arc::clone(model))).collect();
        self
    }

    /// Takes in a record of `models`; says which model's references changed.
    ///
    /// A reference that is gone or damaged is for its own model to do without; that is told.
    ///
    /// # Errors
    /// When the record cannot be read, or the store does not answer.
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
                let announced = match self.shelf.reference(&artifact)? {
                    Ok(reference) => {
                        model.all.push(Arc::clone(&reference));
                        let misfit =
                            self.watched.get(data.model.as_str()).and_then(|watched| misfit(watched, &reference));
                        misfit.map_or(Announced::Fits(reference), Announced::Misfit)
                    }
                    Err(loss) => {
                        model.has_lost = true;
                        self.shelf.tell(&data.model, &version, &loss);
                        Announced::Lost(loss)
                    }
                };
                model.by_version.insert(version.clone(), announced);
                model.latest = Some(version);
            }
            Event::Promoted { version } | Event::RolledBack { version } => model.champion = Some(version),
            Event::Other => return Ok(None),
        }
        Ok(Some(data.model))
    }

    /// The reference for a version's rows; `None` while the model has none that fits.
    pub fn choose(&self, model: &str, version: &str) -> Option<ChosenReference> {
        let mut candidates = self.models.get(model)?.candidates(version);
        candidates.find_map(|(name, announced)| match announced {
            Announced::Fits(reference) => {
                Some(ChosenReference { reference: Arc::clone(reference), borrowed: name != version })
            }
            Announced::Misfit(_) | Announced::Lost(_) => None,
        })
    }

    /// Why a version's rows are held against no reference although its model has one, and what to do.
    pub fn misfit(&self, model: &str, version: &str) -> Option<String> {
        let mut candidates = self.models.get(model)?.candidates(version);
        let (name, what) = candidates.find_map(|(name, announced)| match announced {
            Announced::Fits(_) => None,
            Announced::Misfit(why) => Some((name, format!("does not fit the model as it is configured: {why};"))),
            Announced::Lost(Loss { artifact, reason }) => {
                Some((name, format!("cannot be had ({reason}): restore artifact {artifact} and start again, or")))
            }
        })?;
        Some(format!(
            "the reference of version {name} {what} learn another with `driftline reference --model {model} --model-version {name}`"
        ))
    }

    /// Whether a model has a reference that cannot be had.
    pub fn has_lost(&self, model: &str) -> bool {
        self.models.get(model).is_some_and(|references| references.has_lost)
    }

    /// The same of the version that answers in production, or of the one whose reference was learned last; `None` where
    /// that fits.
    pub fn default_misfit(&self, model: &str) -> Option<String> {
        let references = self.models.get(model)?;
        let version = references.champion.as_ref().or(references.latest.as_ref())?;
        if self.choose(model, version).is_some() { None } else { self.misfit(model, version) }
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

impl ModelReferences {
    /// The references that a version may be held against, with their own versions: its own goes before all others.
    fn candidates<'a>(&'a self, version: &'a str) -> impl Iterator<Item = (&'a str, &'a Announced)> {
        let others = [self.champion.as_deref(), self.latest.as_deref()];
        let versions = [Some(version)].into_iter().chain(others).flatten();
        versions.filter_map(|name| Some((name, self.by_version.get(name)?)))
    }
}

/// Why a model as it is configured cannot be held against a reference.
fn misfit(watched: &WatchedModel, reference: &Reference) -> Option<String> {
    let (now, then) = (&watched.schema, reference.schema());
    if now.task != then.task {
        return Some("its task is another".to_owned());
    }
    for column in &now.columns {
        match then.columns.iter().find(|other| other.name == column.name) {
            Some(other) if other.kind == column.kind => {}
            Some(_) => return Some(format!("`{}` is of another kind in it", column.name)),
            None => return Some(format!("`{}` is not in it", column.name)),
        }
    }
    let gone = then.columns.iter().find(|column| now.columns.iter().all(|other| other.name != column.name));
    if let Some(gone) = gone {
        return Some(format!("it has `{}`, which the model has not", gone.name));
    }
    (watched.windows.size_ms() != reference.windows().size_ms())
        .then(|| "it was learned for windows of another size".to_owned())
}

impl ReferenceCache {
    /// A shelf that holds nothing yet.
    pub fn new(artifacts: Arc<dyn Artifacts>) -> Arc<Self> {
        Arc::new(Self { artifacts, by_artifact: Mutex::default(), told: Mutex::default() })
    }

    /// The reference of an artifact, or why it cannot be had. Nobody waits for another's reading: a store that hangs would
    /// have them wait in turn.
    ///
    /// # Errors
    /// When the store does not answer, which passes.
    fn reference(&self, artifact: &str) -> Result<Result<Arc<Reference>, Loss>, StageError> {
        if let Some(held) = self.held().get(artifact) {
            return Ok(Ok(Arc::clone(held)));
        }
        let lost = |reason: String| Loss { artifact: artifact.to_owned(), reason };
        let bytes = match self.artifacts.get(artifact) {
            Ok(bytes) => bytes,
            Err(error) if error.is_lasting() => return Ok(Err(lost(sentence(&error)))),
            Err(error) => return Err(StageError::failed("reading a reference", error)),
        };
        let reference = match Reference::from_bytes(&bytes) {
            Ok(reference) => reference,
            Err(error) => return Ok(Err(lost(sentence(&error)))),
        };
        let mut held = self.held();
        Ok(Ok(Arc::clone(held.entry(artifact.to_owned()).or_insert_with(|| Arc::new(reference)))))
    }

    /// Says once of a process that a reference cannot be had.
    fn tell(&self, model: &str, version: &str, loss: &Loss) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(loss.artifact.clone()) {
            let Loss { artifact, reason } = loss;
            tracing::error!(
                model,
                version,
                artifact,
                reason,
                "a reference cannot be had: the model is learning without it"
            );
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Arc<Reference>>> {
        self.by_artifact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use detectors::schema::{ColumnKind, Task};
    use detectors::windows::WindowSpec;
    use std::time::Duration;

    #[test]
    fn books_of_a_shelf_hold_the_same_reference_and_know_what_each_has_read() {
        let announced = fixtures::announced(&Arc::new(fixtures::watched()));
        let shelf = ReferenceCache::new(Arc::clone(&announced.artifacts) as _);
        let [mut first, mut second] = [Arc::clone(&shelf), shelf].map(ReferenceRegistry::new);
        let chosen = |book: &ReferenceRegistry| book.choose(fixtures::MODEL, "1").map(|chosen| chosen.reference);
        first.absorb(&announced.record).unwrap();
        assert!(chosen(&second).is_none(), "the second has not read of it");
        second.absorb(&announced.record).unwrap();
        assert!(Arc::ptr_eq(&chosen(&first).unwrap(), &chosen(&second).unwrap()));
    }

    /// What is said of the fixtures' reference where the model is another by now; `None` where it is chosen.
    fn said(change: impl FnOnce(&mut WatchedModel)) -> Option<String> {
        let announced = fixtures::announced(&Arc::new(fixtures::watched()));
        let mut watched = fixtures::watched();
        change(&mut watched);
        let mut book = fixtures::book(&announced).watching([&Arc::new(watched)]);
        book.absorb(&announced.record).unwrap();
        assert_eq!(book.choose(fixtures::MODEL, "1").is_none(), book.default_misfit(fixtures::MODEL).is_some());
        assert_eq!(book.choose(fixtures::MODEL, "2").is_none(), book.misfit(fixtures::MODEL, "2").is_some());
        book.misfit(fixtures::MODEL, "1")
    }

    #[test]
    fn a_reference_that_is_gone_or_damaged_costs_its_own_model_only_and_another_takes_its_place() {
        let announced = fixtures::announced(&Arc::new(fixtures::watched()));
        let text = String::from_utf8(announced.record.value.clone().unwrap().to_vec()).unwrap();
        let artifact = serde_json::from_str::<serde_json::Value>(&text).unwrap()["data"]["artifact"].clone();
        let artifact = artifact.as_str().unwrap();
        let of = |artifact_now: &str, model: &str| Record {
            value: Some(
                text.replace(artifact, artifact_now)
                    .replace(r#""model":"bed""#, &format!("\"model\":\"{model}\""))
                    .into(),
            ),
            ..announced.record.clone()
        };
        let damaged = announced.artifacts.put("no reference".into()).unwrap();
        for lost in [damaged.as_str(), &"0".repeat(64)] {
            let mut book = fixtures::book(&announced);
            book.absorb(&of(artifact, "other")).unwrap();
            assert_eq!(book.absorb(&of(lost, fixtures::MODEL)).unwrap().as_deref(), Some(fixtures::MODEL));
            assert!(book.choose(fixtures::MODEL, "1").is_none() && book.has_lost(fixtures::MODEL));
            let said = book.misfit(fixtures::MODEL, "1").unwrap();
            assert!(
                said.contains(&format!("restore artifact {lost}")) && said.contains("learn another with"),
                "{said}"
            );
            assert!(book.choose("other", "1").is_some() && !book.has_lost("other"));
            book.absorb(&of(artifact, fixtures::MODEL)).unwrap();
            assert!(book.choose(fixtures::MODEL, "1").is_some());
        }
    }

    #[test]
    fn a_reference_is_chosen_whatever_the_order_of_columns_and_not_where_it_does_not_fit_them() {
        assert_eq!(said(|_| {}), None);
        assert_eq!(said(|watched| watched.schema.columns.reverse()), None);
        let mut added = fixtures::watched().schema.columns[0].clone();
        added.name = "height".to_owned();
        for (why, said) in [
            ("`height` is not in it", said(|watched| watched.schema.columns.insert(1, added))),
            ("it has `load`, which the model has not", said(|watched| drop(watched.schema.columns.remove(1)))),
            (
                "`age` is of another kind in it",
                said(|watched| watched.schema.columns[0].kind = ColumnKind::Categorical),
            ),
            ("its task is another", said(|watched| watched.schema.task = Task::Regression)),
            (
                "windows of another size",
                said(|watched| watched.windows = WindowSpec::tumbling(Duration::from_secs(3)).unwrap()),
            ),
        ] {
            let said = said.unwrap();
            assert!(said.contains(why), "{said}");
            assert!(said.ends_with("learn another with `driftline reference --model bed --model-version 1`"), "{said}");
        }
    }
}
