//! The names of the log's topics, in one place.

/// Captured predictions: inference events v1.
pub const INFERENCES: &str = "inferences";
/// What turned out to be true: label events v1.
pub const LABELS: &str = "labels";
/// Feedback events v1.
pub const FEEDBACK: &str = "feedback";
/// Capture's epochs: ledger and partial profiles.
pub const PARTIALS: &str = "partials";
/// The monitor's verdicts.
pub const VERDICTS: &str = "verdicts";
/// What a clock or a person brought about.
pub const CAUSES: &str = "causes";
/// Promotions, roll-backs and registrations that people ask for.
pub const COMMANDS: &str = "commands";
/// Retrain requests.
pub const RETRAIN: &str = "retrain";
/// The registry: lifecycle events of models.
pub const MODELS: &str = "models";
/// Who asked for what, why and from where.
pub const AUDIT: &str = "audit";
/// Which files hold which offsets.
pub const ARCHIVED: &str = "archived";

/// The input topics: what users and their programs write.
pub const INPUTS: [&str; 3] = [INFERENCES, LABELS, FEEDBACK];

/// Whether a topic is an input topic, the dead letters of one, or what one is made from.
pub fn is_input(topic: &str) -> bool {
    INPUTS.iter().any(|input| topic == *input || topic == dead_letters_of(input)) || repartitioned_from(topic).is_some()
}

/// The dead-letter topic of an input topic.
pub fn dead_letters_of(topic: &str) -> String {
    format!("{topic}-dlt")
}

/// The input topics that may be repartitioned: those that a stage reads.
pub const REPARTITIONABLE: [&str; 2] = [INFERENCES, LABELS];

/// The users' topic, where the input topic of this name is made from it by a repartition.
pub fn source_of(topic: &str) -> String {
    format!("{topic}-source")
}

/// The input topic that is made from this users' topic.
pub fn repartitioned_from(source: &str) -> Option<&'static str> {
    REPARTITIONABLE.into_iter().find(|topic| source_of(topic) == source)
}

/// Where those that repartition an input topic tell each other how far they are.
pub fn standings_of(topic: &str) -> String {
    format!("{topic}-standings")
}
