//! Bad rows: each stands between two good ones in the same body.
//!
//! In JSON, `$ID` is a fresh `"id": …`, `$T` a time of the good rows, `$AHEAD` a time a thousand hours ahead, `$F` good
//! features, `$E` all of a good event but its id, `$L` all of a good label but its id, `$B` all of a good piece of
//! feedback but its id, `$FIRST` the id of an event that has arrived, `$DEEP` forty nested arrays, `$LONG` 70,000 letters
//! and `$HUGE` 1,100,000. A row of MessagePack is a good one with some of its fields changed.

use super::table::Fate::{Counted, DeadLetter, Refused};
use super::table::Input::{Bytes, Column, Cut, Json, Packed};
use super::table::Packing::{Absent, Binary, Double, Integer, Nothing, Raw, Single, Unsigned};
use super::table::{Row, To};

/// A table of rows: `name: where input => fate;`.
macro_rules! rows {
    ($($name:literal : $to:ident $input:expr => $fate:expr;)*) => {
        &[$(Row { name: $name, to: To::$to, input: $input, fate: $fate }),*]
    };
}

/// What cannot be read at all.
pub(super) const BROKEN: &[Row] = rows! {
    "a line that was cut off":
        Events Json(r#"{$ID,"time":1700000000000,"mod"#)
        => Refused("malformed", "the line ends within text at byte 191: check the encoder that wrote it, and that the content type names its format");
    "a line without its end":
        Events Json(r#"{$ID,$E,"score":"#)
        => Refused("truncated", "the bytes end within a value at byte 422: send the whole event");
    "a comma that is missing":
        Events Json(r#"{$ID "time":$T}"#)
        => Refused("malformed", "expected `,` or `}` at byte 166: check the encoder that wrote it, and that the content type names its format");
    "a comma too many":
        Events Json(r#"{$ID,$E,}"#)
        => Refused("malformed", "expected another entry after the comma at byte 265: check the encoder that wrote it, and that the content type names its format");
    "a leading zero":
        Events Json(r#"{$ID,"time":01}"#)
        => Refused("malformed", "expected a number in `time` at byte 173: check the encoder that wrote it, and that the content type names its format");
    "a word":
        Events Json("hello")
        => Refused("malformed", "expected a value at byte 150: check the encoder that wrote it, and that the content type names its format");
    "a number":
        Events Json("42")
        => Refused("not_a_map", "the row is an integer at byte 150: an event is a map with id, time, model, …");
    "a text":
        Labels Json(r#""label""#)
        => Refused("not_a_map", "the row is text at byte 70: an event is a map with id, time, model, …");
    "null":
        Feedback Json("null")
        => Refused("not_a_map", "the row is null at byte 81: an event is a map with id, time, model, …");
    "a control character in text":
        Events Json("{\"id\":\"a\tb\",$E}")
        => Refused("malformed", "a control character stands within text in `id` at byte 158: check the encoder that wrote it, and that the content type names its format");
    "an escape of no character":
        Events Json(r#"{"id":"\ud800",$E}"#)
        => Refused("malformed", "text has an escape that is no character in `id` at byte 157: check the encoder that wrote it, and that the content type names its format");
    "text that is not UTF-8":
        Events Bytes(b"{\"id\":\"\xff\xfe\"}")
        => Refused("not_utf8", "text is not UTF-8 in `id` at byte 157: encode text as UTF-8");
    "nesting without end":
        Events Json(r#"{$ID,$E,"extra":$DEEP}"#)
        => Refused("too_deep", "values are nested too deep at byte 306: flatten the value, or leave it out");
    "an event larger than a record":
        Events Json(r#"{$ID,$E,"note":"$HUGE"}"#)
        => Refused("too_large", "an event of 1100125 bytes, where 1048576 are allowed at byte 150: shorten it, or leave it out");
    "a field twice":
        Events Json(r#"{$ID,$ID,$E}"#)
        => Refused("duplicate_field", "`id` is there twice at byte 171: send each field once");
    "a byte that is not MessagePack":
        Events Cut(b"\x82\xa2id\xa3bad\xa5extra\xc1")
        => Refused("malformed", "a byte that MessagePack never uses at byte 111: check the encoder that wrote it, and that the content type names its format");
    "MessagePack that ends early":
        Events Cut(b"\x83\xa2id\xa3bad\xa4time\xcf\x00")
        => Refused("truncated", "the bytes end within a value in `time` at byte 112: send the whole event");
    "fewer events than announced":
        Labels Cut(b"")
        => Refused("truncated", "the array announces 1 more events than are there at byte 51: send the whole event");
    "a key that is a number":
        Labels Bytes(b"\x81\x01\x02")
        => Refused("key_not_text", "a key is not text at byte 52: use text for the keys of maps");
    "MessagePack text that is not UTF-8":
        Labels Packed(&[("id", Raw(b"\xa2\xff\xfe"))])
        => Refused("not_utf8", "text is not UTF-8 in `id` at byte 91: encode text as UTF-8");
};

/// What every event needs, and what its fields may be.
pub(super) const HEADS: &[Row] = rows! {
    "no id":
        Events Json("{$E}")
        => Refused("missing_id", "the row has no `id` at byte 150: give every event an id, which its label repeats");
    "an id that is null":
        Events Json(r#"{"id":null,$E}"#)
        => Refused("missing_id", "the row has no `id` at byte 150: give every event an id, which its label repeats");
    "an empty id":
        Events Json(r#"{"id":"",$E}"#)
        => Refused("missing_id", "empty text in `id` at byte 156: give every event an id, which its label repeats");
    "an id with a fraction":
        Events Json(r#"{"id":1.5,$E}"#)
        => Refused("wrong_type_id", "found a number in `id` at byte 156: send the id as text or as an integer");
    "an id of bytes":
        Events Packed(&[("id", Binary(b"ab"))])
        => Refused("wrong_type_id", "found binary data in `id` at byte 182: send the id as text or as an integer");
    "no time":
        Events Json(r#"{$ID,"model":"loan","version":"v1","features":$F}"#)
        => Refused("missing_time", "the row has no `time` at byte 150: give the event time in milliseconds since the epoch");
    "a time with a fraction":
        Events Packed(&[("time", Double(1.5))])
        => Refused("wrong_type_time", "found a number in `time` at byte 181: send milliseconds since the epoch as an integer, or RFC 3339 text");
    "a time that is NaN":
        Events Packed(&[("time", Double(f64::NAN))])
        => Refused("wrong_type_time", "found a number in `time` at byte 181: send milliseconds since the epoch as an integer, or RFC 3339 text");
    "a time in words":
        Labels Json(r#"{$ID,"time":"yesterday","model":"loan","label":"yes"}"#)
        => Refused("wrong_type_time", "text is not RFC 3339 in `time` at byte 93: send milliseconds since the epoch as an integer, or RFC 3339 text");
    "a time in nanoseconds":
        Labels Packed(&[("time", Integer(1_700_000_000_000_000_000))])
        => Refused("time_out_of_range", "the time looks like microseconds or nanoseconds in `time` at byte 89: give milliseconds since the epoch, or map the unit (`map: {time: {path: …, unit: s}}`)");
    "a time before March 1973, as a number":
        Events Packed(&[("time", Integer(-70_000_000_000_000))])
        => Refused("time_out_of_range", "in milliseconds the time lies before March 1973 in `time` at byte 181: give milliseconds since the epoch, or map the unit (`map: {time: {path: …, unit: s}}`)");
    "a time in seconds":
        Events Packed(&[("time", Integer(1_700_000_000))])
        => Refused("time_out_of_range", "the time looks like seconds in `time` at byte 181: give milliseconds since the epoch, or map the unit (`map: {time: {path: …, unit: s}}`)");
    "a year for a time":
        Labels Packed(&[("time", Integer(2_025))])
        => Refused("time_out_of_range", "the time looks like a year in `time` at byte 89: give milliseconds since the epoch, or map the unit (`map: {time: {path: …, unit: s}}`)");
    "a year that the calendar does not have":
        Labels Json(r#"{$ID,"time":"0000-01-01T00:00:00Z","model":"loan","label":"yes"}"#)
        => Refused("time_out_of_range", "the year is not within 1 to 9999 in `time` at byte 93: give milliseconds since the epoch, or map the unit (`map: {time: {path: …, unit: s}}`)");
    "a time beyond all integers":
        Events Packed(&[("time", Unsigned(u64::MAX))])
        => Refused("time_out_of_range", "the time looks like microseconds or nanoseconds in `time` at byte 181: give milliseconds since the epoch, or map the unit (`map: {time: {path: …, unit: s}}`)");
    "a time far ahead":
        Events Json(r#"{$ID,"time":$AHEAD,"model":"loan","version":"v1","features":$F}"#)
        => DeadLetter("time_too_far_ahead", "the time is 1000 hours ahead of the log's clock in `time` at byte 0: check the sender's clock and the unit, milliseconds since the epoch");
    "a label far ahead":
        Labels Json(r#"{$ID,"time":$AHEAD,"model":"loan","label":"yes"}"#)
        => DeadLetter("time_too_far_ahead", "the time is 1000 hours ahead of the log's clock in `time` at byte 0: check the sender's clock and the unit, milliseconds since the epoch");
    "a time in seconds, as JSON":
        Events Json(r#"{$ID,"time":1700000000,"model":"loan","version":"v1","features":$F,"prediction":"yes","score":0.5}"#)
        => Refused("time_out_of_range", "the time looks like seconds in `time` at byte 173: give milliseconds since the epoch, or map the unit (`map: {time: {path: …, unit: s}}`)");
    "a time before the epoch, as a number":
        Events Json(r#"{$ID,"time":-1,"model":"loan","version":"v1","features":$F,"prediction":"yes","score":0.5}"#)
        => Refused("time_out_of_range", "in milliseconds the time lies before March 1973 in `time` at byte 173: give milliseconds since the epoch, or map the unit (`map: {time: {path: …, unit: s}}`)");
    "a time before the epoch":
        Events Json(r#"{$ID,"time":"1969-12-31T23:59:59Z","model":"loan","version":"v1","features":$F,"prediction":"yes","score":0.5}"#)
        => Counted(&["late"]);
    "no model":
        Events Json(r#"{$ID,"time":$T,"version":"v1","features":$F}"#)
        => Refused("missing_model", "the row has no `model` at byte 150: name the model that answered");
    "a model that is a number":
        Events Packed(&[("model", Integer(4))])
        => Refused("wrong_type_model", "found an integer in `model` at byte 185: send the model's name as text");
    "an unknown model":
        Events Json(r#"{$ID,"time":$T,"model":"laon","version":"v1","features":$F}"#)
        => Refused("unknown_model", "the model is not configured at byte 150: add the model to the configuration, or correct its name");
    "a label for an unknown model":
        Labels Json(r#"{$ID,"time":$T,"model":"laon","label":"yes"}"#)
        => Refused("unknown_model", "the model is not configured at byte 70: add the model to the configuration, or correct its name");
    "feedback for an unknown model":
        Feedback Json(r#"{$ID,"time":$T,"model":"laon","name":"click","value":1}"#)
        => Refused("unknown_model", "the model is not configured at byte 81: add the model to the configuration, or correct its name");
    "no version":
        Events Packed(&[("version", Absent)])
        => Refused("missing_version", "the row has no `version` at byte 97: give the version of the model that answered");
    "a version that is true":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":true,"features":$F}"#)
        => Refused("wrong_type_version", "found a boolean in `version` at byte 212: send the version as text or as an integer");
    "no features":
        Events Packed(&[("features", Absent)])
        => Refused("missing_features", "the row has no `features` at byte 97: send the model's inputs: a map by name, or an array in schema order");
    "a sampling rate of 0":
        Events Json(r#"{$ID,$E,"sampling_rate":0}"#)
        => Refused("weight_out_of_range", "the number is out of range in `sampling_rate` at byte 281: a sampling rate lies in (0, 1], a weight is finite and not negative");
    "a sampling rate in words":
        Events Json(r#"{$ID,$E,"sampling_rate":"half"}"#)
        => Refused("wrong_type_weight", "found text in `sampling_rate` at byte 281: send it as a number, or leave it out");
    "a weight that is infinite":
        Events Packed(&[("weight", Double(f64::INFINITY))])
        => Refused("weight_out_of_range", "the number is out of range in `weight` at byte 197: a sampling rate lies in (0, 1], a weight is finite and not negative");
    "a label event without a label":
        Labels Packed(&[("label", Absent)])
        => Refused("missing_label", "the row has no `label` at byte 51: send the label, or send nothing until it is known");
    "a label that is null":
        Labels Packed(&[("label", Nothing)])
        => Refused("missing_label", "the row has no `label` at byte 51: send the label, or send nothing until it is known");
    "feedback without a name":
        Feedback Packed(&[("name", Absent)])
        => Refused("missing_name", "the row has no `name` at byte 59: name what was observed, such as `click`");
    "feedback without a value":
        Feedback Json(r#"{$ID,"time":$T,"model":"loan","name":"click"}"#)
        => Refused("missing_value", "the row has no `value` at byte 81: send the value that was observed");
    "feedback without an id":
        Feedback Json("{$B}")
        => Refused("missing_id", "the row has no `id` at byte 81: give every event an id, which its label repeats");
};

/// What only the model's schema tells: the event is taken, and becomes a dead letter, or its value is counted as odd.
pub(super) const VALUES: &[Row] = rows! {
    "features in words":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":"none"}"#)
        => DeadLetter("wrong_type_features", "found text in `features` at byte 228: send features as a map by name, or as an array in schema order");
    "too few features in an array":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":[1,30]}"#)
        => DeadLetter("wrong_feature_count", "the array has fewer than the 3 values of the schema in `features` at byte 234: send one value for each feature of the schema, or a map by name");
    "too many features in an array":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":[1,30,"DE",4]}"#)
        => DeadLetter("wrong_feature_count", "the array has more than the 3 values of the schema in `features` at byte 239: send one value for each feature of the schema, or a map by name");
    "a feature twice":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":{"age":1,"age":2}}"#)
        => DeadLetter("duplicate_feature", "a feature is there twice in `features.age` at byte 243: send each feature once");
    "a category that is too long":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":{"country":"$LONG"}}"#)
        => DeadLetter("too_large", "text of 70000 bytes, where 65536 are allowed in `features.country` at byte 239: shorten it, or leave it out");
    "several outputs":
        Events Json(r#"{$ID,$E,"prediction":{"a":1,"b":2}}"#)
        => DeadLetter("several_outputs", "the prediction is a map of outputs at byte 278: send one output; a model with several outputs is not supported");
    "a segment in words":
        Events Json(r#"{$ID,$E,"segment":"north"}"#)
        => DeadLetter("wrong_type_segment", "found text in `segment` at byte 275: send segments as a map of text, booleans or numbers");
    "a segment of a list":
        Events Json(r#"{$ID,$E,"segment":{"ward":["a"]}}"#)
        => DeadLetter("wrong_type_segment", "found an array in `segment` at byte 283: send segments as a map of text, booleans or numbers");
    "a class's score twice":
        Events Json(r#"{$ID,$E,"score":{"yes":0.5,"yes":0.6}}"#)
        => DeadLetter("duplicate_field", "`yes` is there twice in `score` at byte 290: send each field once");
    "a label of a list":
        Labels Json(r#"{$ID,"time":$T,"model":"loan","label":["yes"]}"#)
        => DeadLetter("wrong_type_label", "found an array in `label` at byte 130: a class is text, a boolean or a number; a regression's label is a finite number");
    "a label in words for a number":
        Labels Json(r#"{$ID,"time":$T,"model":"fare","label":"dear"}"#)
        => DeadLetter("wrong_type_label", "found text in `label` at byte 130: a class is text, a boolean or a number; a regression's label is a finite number");
    "a label that is NaN":
        Labels Json(r#"{$ID,"time":$T,"model":"fare","label":NaN}"#)
        => DeadLetter("wrong_type_label", "the number is not finite in `label` at byte 130: a class is text, a boolean or a number; a regression's label is a finite number");
    "a label within the event of a wrong type":
        Events Json(r#"{$ID,$E,"label":{"yes":1}}"#)
        => DeadLetter("wrong_type_label", "found a map in `label` at byte 273: a class is text, a boolean or a number; a regression's label is a finite number");
    "a vector where a number should be":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":{"amount":[1,2],"age":30,"country":"DE"},"prediction":"yes","score":0.5}"#)
        => Counted(&["amount wrong_type_share"]);
    "words where a number should be":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":{"amount":"a lot","age":30,"country":"DE"},"prediction":"yes","score":0.5}"#)
        => Counted(&["amount wrong_type_share"]);
    "a number where a category should be":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":[1,30,4.5],"prediction":"yes","score":0.5}"#)
        => Counted(&["country unseen_share"]);
    "a list where a category should be":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":[1,30,["DE"]],"prediction":"yes","score":0.5}"#)
        => Counted(&["country wrong_type_share"]);
    "NaN as a word":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":[NaN,30,"DE"],"prediction":"yes","score":0.5}"#)
        => Counted(&["amount nan_share"]);
    "-Infinity as a word":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":[-Infinity,30,"DE"],"prediction":"yes","score":0.5}"#)
        => Counted(&["amount infinite_share"]);
    "a number beyond doubles":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":[1e999,30,"DE"],"prediction":"yes","score":0.5}"#)
        => Counted(&["amount infinite_share"]);
    "NaN in single precision":
        Events Packed(&[("score", Single(f32::NAN))])
        => Counted(&["score nan_share"]);
    "an infinite score":
        Events Packed(&[("score", Double(f64::INFINITY))])
        => Counted(&["score infinite_share"]);
    "features that are null":
        Events Packed(&[("features", Nothing)])
        => Counted(&["age null_share", "amount null_share", "country null_share"]);
    "a missing feature":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":{"age":30,"country":"DE"},"prediction":"yes","score":0.5}"#)
        => Counted(&["amount null_share"]);
    "an unknown feature":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":{"amount":1,"age":30,"country":"DE","ammount":1},"prediction":"yes","score":0.5}"#)
        => Counted(&["unknown_features"]);
    "an unseen category":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":[1,30,"ATLANTIS"],"prediction":"yes","score":0.5}"#)
        => Counted(&["country unseen_share"]);
    "a number far out of range":
        Events Json(r#"{$ID,"time":$T,"model":"loan","version":"v1","features":[1e300,30,"DE"],"prediction":"yes","score":0.5}"#)
        => Counted(&["amount out_of_range_share"]);
    "a score above 1":
        Events Json(r#"{$ID,$E,"prediction":"yes","score":1.5,"label":"yes"}"#)
        => Counted(&["invalid_score", "score out_of_range_share"]);
    "a score in words":
        Events Json(r#"{$ID,$E,"prediction":"yes","score":"high"}"#)
        => Counted(&["score wrong_type_share"]);
    "a score of an unknown class":
        Events Json(r#"{$ID,$E,"prediction":"yes","score":{"maybe":0.5}}"#)
        => Counted(&["score null_share"]);
    "a prediction of no class":
        Events Json(r#"{$ID,$E,"prediction":"maybe","score":0.5,"label":"yes"}"#)
        => Counted(&["invalid_prediction", "prediction unseen_share"]);
    "a label of no class":
        Labels Json(r#"{"id":"$FIRST","time":$T,"model":"loan","label":"maybe"}"#)
        => Counted(&["invalid_label"]);
};

/// Rows of Arrow streams.
pub(super) const STREAMS: &[Row] = rows! {
    "a column without an id":
        Events Column("id", None)
        => Refused("missing_id", "the row has no `id` at byte 0: give every event an id, which its label repeats");
    "a column with a time in words":
        Events Column("time", Some("yesterday"))
        => Refused("wrong_type_time", "text is not RFC 3339 in `time` at byte 23: send milliseconds since the epoch as an integer, or RFC 3339 text");
    "a column with an unknown model":
        Labels Column("model", Some("laon"))
        => Refused("unknown_model", "the model is not configured at byte 0: add the model to the configuration, or correct its name");
    "a column without a label":
        Labels Column("label", None)
        => Refused("missing_label", "the row has no `label` at byte 0: send the label, or send nothing until it is known");
    "a column with a prediction that is no class":
        Events Column("prediction", Some("maybe"))
        => Counted(&["prediction unseen_share"]);
};
