//! What can be wrong with a row, under names that stay: they are metric labels and headers of dead letters.
//!
//! A message says what, where and how to mend it. It never repeats a value of the row, because a value may be private.

/// Declares the reasons, their stable names and the advice that goes with each.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $mend:literal;)*) => {
        /// Why a row, or what is left of a record, could not be taken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name, in snake case.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the sender can do about it.
            pub fn mend(self) -> &'static str {
                match self { $(Self::$variant => $mend,)* }
            }
        }
    };
}

reasons! {
    /// A record or body without a byte in it.
    Empty = "empty", "send at least one event";
    /// None of the formats, by its header or its first bytes.
    UnknownFormat = "unknown_format", "send application/json, application/msgpack or application/vnd.apache.arrow.stream";
    /// Framed with a schema that is nowhere to be had, or Avro that names none.
    UnknownSchema = "unknown_schema", "register the schema, or name its file in the section `schemas`";
    /// A schema that is no Avro or JSON, or cannot be used.
    UnreadSchema = "unread_schema", "send Avro, or JSON, which needs no schema";
    /// The bytes end within a value.
    Truncated = "truncated", "send the whole event";
    /// Not the syntax of its format.
    Malformed = "malformed", "check the encoder that wrote it, and that the content type names its format";
    /// Text that is not UTF-8.
    NotUtf8 = "not_utf8", "encode text as UTF-8";
    /// A map key that is not text.
    KeyNotText = "key_not_text", "use text for the keys of maps";
    /// A row that is not a map.
    NotAMap = "not_a_map", "an event is a map with id, time, model, …";
    /// Values nested beyond the limit.
    TooDeep = "too_deep", "flatten the value, or leave it out";
    /// Text or a row beyond the limit.
    TooLarge = "too_large", "shorten it, or leave it out";
    /// More rows in one record than the limit.
    TooManyEvents = "too_many_events", "send fewer events per record";
    /// Bytes behind the end of a MessagePack value or of an Arrow stream.
    TrailingBytes = "trailing_bytes", "put several events into one array";
    /// An Arrow stream with compressed bodies.
    Compressed = "compressed", "write the stream without compression; HTTP may compress the body as a whole";
    /// An Arrow column of a type that no field has.
    UnreadType = "unread_type", "cast the column to numbers, text, booleans, timestamps, lists or structs";
    /// A field that is there twice.
    DuplicateField = "duplicate_field", "send each field once";
    /// A feature that is there twice.
    DuplicateFeature = "duplicate_feature", "send each feature once";
    /// No id, or an empty one.
    MissingId = "missing_id", "give every event an id, which its label repeats";
    /// An id that is neither text nor an integer.
    WrongTypeId = "wrong_type_id", "send the id as text or as an integer";
    /// No time.
    MissingTime = "missing_time", "give the event time in milliseconds since the epoch";
    /// A time that is neither an integer nor RFC 3339.
    WrongTypeTime = "wrong_type_time", "send milliseconds since the epoch as an integer, or RFC 3339 text";
    /// A number that is no time in milliseconds, or text that names a year outside of 1 to 9999.
    TimeOutOfRange = "time_out_of_range", "give milliseconds since the epoch, or map the unit (`map: {time: {path: …, unit: s}}`)";
    /// A time further ahead of the log's clock than the limit.
    TimeTooFarAhead = "time_too_far_ahead", "check the sender's clock and the unit, milliseconds since the epoch";
    /// No model.
    MissingModel = "missing_model", "name the model that answered";
    /// A model name that is not text.
    WrongTypeModel = "wrong_type_model", "send the model's name as text";
    /// A model that is not configured.
    UnknownModel = "unknown_model", "add the model to the configuration, or correct its name";
    /// No version.
    MissingVersion = "missing_version", "give the version of the model that answered";
    /// A version that is neither text nor an integer.
    WrongTypeVersion = "wrong_type_version", "send the version as text or as an integer";
    /// An inference event without features.
    MissingFeatures = "missing_features", "send the model's inputs: a map by name, or an array in schema order";
    /// Features that are neither a map nor an array.
    WrongTypeFeatures = "wrong_type_features", "send features as a map by name, or as an array in schema order";
    /// An array of features of another length than the schema's.
    WrongFeatureCount = "wrong_feature_count", "send one value for each feature of the schema, or a map by name";
    /// A prediction with several outputs.
    SeveralOutputs = "several_outputs", "send one output; a model with several outputs is not supported";
    /// A segment map, or a value of it, of the wrong type.
    WrongTypeSegment = "wrong_type_segment", "send segments as a map of text, booleans or numbers";
    /// A sampling rate or weight that is not a number.
    WrongTypeWeight = "wrong_type_weight", "send it as a number, or leave it out";
    /// A sampling rate or weight that cannot be one.
    WeightOutOfRange = "weight_out_of_range", "a sampling rate lies in (0, 1], a weight is finite and not negative";
    /// A label event without a label.
    MissingLabel = "missing_label", "send the label, or send nothing until it is known";
    /// A label that does not fit the model's task.
    WrongTypeLabel = "wrong_type_label", "a class is text, a boolean or a number; a regression's label is a finite number";
    /// A feedback event without a name.
    MissingName = "missing_name", "name what was observed, such as `click`";
    /// A feedback event without a value.
    MissingValue = "missing_value", "send the value that was observed";
}

/// What is wrong with one row, while it is being read.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    at: usize,
    path: String,
    what: String,
}

/// What reading gives. The fault is boxed so that the good path returns in registers.
pub(crate) type Read<T> = Result<T, Box<Fault>>;

impl Fault {
    /// A fault at a byte of the record.
    #[cold]
    pub(crate) fn new(reason: Reason, at: usize, what: impl Into<String>) -> Box<Self> {
        Box::new(Self { reason, at, path: String::new(), what: what.into() })
    }

    /// The same fault, found within this field.
    #[cold]
    pub(crate) fn within(mut self: Box<Self>, field: &str) -> Box<Self> {
        self.path = if self.path.is_empty() { field.to_owned() } else { format!("{field}.{}", self.path) };
        self
    }

    /// What, where and how to mend it.
    pub(crate) fn message(&self) -> String {
        let Self { reason, at, path, what } = self;
        let mend = reason.mend();
        if path.is_empty() {
            format!("{what} at byte {at}: {mend}")
        } else {
            format!("{what} in `{path}` at byte {at}: {mend}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_a_name_of_its_own_in_snake_case() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(
            names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        );
    }

    #[test]
    fn a_message_says_what_where_and_how_to_mend() {
        let fault = Fault::new(Reason::Truncated, 7, "text ends early").within("age").within("features");
        assert_eq!(fault.message(), "text ends early in `features.age` at byte 7: send the whole event");
    }
}
