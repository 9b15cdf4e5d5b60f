//! Laws of the fold, and every refusal of a command.

use super::*;
use crate::fixtures::lineage;
use crate::gate::{admit_first, override_gate};
use detectors::schema::{ColumnKind, Task};

fn version(name: &str, features: &[&str]) -> ModelVersion {
    let lineage = lineage();
    let features = features.iter().map(|name| ((*name).to_owned(), ColumnKind::Numeric));
    ModelVersion { version: name.into(), artifact: None, schema: ModelSchema::new(features, Task::Regression), lineage }
}

fn fold(registry: &mut ModelRegistry, event: LifecycleEvent) -> ModelEvent {
    let event = ModelEvent { model: "m".into(), time_ms: 7, event, estimates: BTreeMap::new() };
    registry.apply(&event).unwrap();
    event
}

/// v1 is champion, v2 is registered.
fn two_versions() -> (ModelRegistry, Vec<ModelEvent>) {
    let mut registry = ModelRegistry::default();
    let mut events = Vec::new();
    let event = registry.register("m", &version("v1", &["a", "b"])).unwrap();
    events.push(fold(&mut registry, event));
    let event = registry.promote(admit_first("m", "v1")).unwrap();
    events.push(fold(&mut registry, event));
    let event = registry.register("m", &version("v2", &["b", "a"])).unwrap();
    events.push(fold(&mut registry, event));
    (registry, events)
}

#[test]
fn a_replay_gives_the_same_registry() {
    let (mut registry, mut events) = two_versions();
    let permit = override_gate("m", "v2", Some("v1".into()), "ann").unwrap();
    let event = registry.promote(permit).unwrap();
    events.push(fold(&mut registry, event));
    let event = registry.roll_back("m", None, "worse at night").unwrap();
    events.push(fold(&mut registry, event));
    let mut replayed = ModelRegistry::default();
    for event in &events {
        let record = event.to_record("id").unwrap();
        let envelope: serde_json::Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        replayed.apply(&serde_json::from_value(envelope["data"].clone()).unwrap()).unwrap();
    }
    assert_eq!(replayed, registry);
    let model = registry.model("m").unwrap();
    assert_eq!((model.champion(), model.tenures().len(), model.next_version().as_str()), (Some("v1"), 3, "v3"));
}

#[test]
fn what_does_not_hold_is_refused_and_changes_nothing() {
    let (registry, _) = two_versions();
    let permit = |version: &str, champion: &str| override_gate("m", version, Some(champion.into()), "ann").unwrap();
    assert!(matches!(registry.register("m", &version("v1", &["a", "b"])), Err(RegistryError::VersionExists { .. })));
    let told = registry.register("m", &version("v3", &["a"])).unwrap_err().to_string();
    assert!(told.contains("feature b is missing"), "{told}");
    assert!(matches!(registry.promote(permit("v9", "v1")), Err(RegistryError::NoSuchVersion { .. })));
    assert!(matches!(registry.promote(permit("v2", "v0")), Err(RegistryError::OtherChampion { .. })));
    assert!(matches!(registry.promote(permit("v1", "v1")), Err(RegistryError::IsChampion { .. })));
    assert!(matches!(registry.roll_back("m", None, ""), Err(RegistryError::NothingToGoBackTo { .. })));
    assert!(matches!(registry.roll_back("m", Some("v2"), ""), Err(RegistryError::NeverChampion { .. })));
}

#[test]
fn an_event_that_contradicts_the_fold_is_an_error() {
    let (mut registry, _) = two_versions();
    let before = registry.clone();
    let trained = LifecycleEvent::ChallengerTrained {
        request: "r".into(),
        candidate: Some(1),
        made_of: None,
        version: "v2".into(),
        trial_from: detectors::verdict::Cut { at_ms: 0, positions: Vec::new() },
    };
    let event = ModelEvent { model: "m".into(), time_ms: 0, event: trained, estimates: BTreeMap::new() };
    assert!(matches!(registry.apply(&event), Err(RegistryError::NotInFlight { .. })));
    assert_eq!(registry, before);
}
