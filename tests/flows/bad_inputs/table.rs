//! What the rows of the table are made of, and how they become bytes.

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use std::sync::Arc;

/// Where a row is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum To {
    Events,
    Labels,
    Feedback,
}

/// A bad row.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) to: To,
    pub(super) input: Input,
    pub(super) fate: Fate,
}

/// How a bad row is written.
pub(super) enum Input {
    /// A line of JSON lines, with `$` for what [`Words`] has.
    Json(&'static str),
    /// A good row in MessagePack with some of its fields changed.
    Packed(&'static [(&'static str, Packing)]),
    /// These bytes: MessagePack, or a line of JSON where they begin with `{`.
    Bytes(&'static [u8]),
    /// These bytes at the end of an array in MessagePack: what follows such a row cannot be told, so the good one after it
    /// comes in a body of its own.
    Cut(&'static [u8]),
    /// The second of three rows of an Arrow stream, of which one column of text has another value, or none.
    Column(&'static str, Option<&'static str>),
}

/// A value in MessagePack.
#[derive(Clone, Copy)]
pub(super) enum Packing {
    /// None: the field is left out.
    Absent,
    Nothing,
    Integer(i64),
    Unsigned(u64),
    Single(f32),
    Double(f64),
    Text(&'static str),
    Binary(&'static [u8]),
    /// An array of a number, a number and text: the features of a good row.
    Features,
    /// These bytes as they are.
    Raw(&'static [u8]),
}

/// What becomes of a bad row.
pub(super) enum Fate {
    /// It is refused at once: the reason and the message in the answer.
    Refused(&'static str, &'static str),
    /// It is taken, and becomes a dead letter: the reason and the message in its headers.
    DeadLetter(&'static str, &'static str),
    /// It is taken and kept; what is odd about it is counted under these names, and under no other.
    Counted(&'static [&'static str]),
}

/// The time of good rows: 2023-11-14.
pub(super) const TIME_MS: i64 = 1_700_000_000_000;
/// The id of an event that arrives before all others.
pub(super) const FIRST: &str = "first";

impl To {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Events => "/v1/events",
            Self::Labels => "/v1/labels",
            Self::Feedback => "/v1/feedback",
        }
    }

    /// All of a good row but its id.
    fn rest(self) -> &'static str {
        match self {
            Self::Events => "$E,\"prediction\":\"yes\",\"score\":0.5",
            Self::Labels => "$L",
            Self::Feedback => "$B",
        }
    }

    /// A good row in JSON.
    pub(super) fn json(self, id: &str) -> Vec<u8> {
        words(&format!("{{\"id\":\"{id}\",{}}}", self.rest()), id).into_bytes()
    }

    /// A good row in MessagePack with these fields changed.
    pub(super) fn packed(self, id: &str, changes: &[(&'static str, Packing)]) -> Vec<u8> {
        use Packing::{Double, Features, Integer, Text};
        let of_kind: &[(&str, Packing)] = match self {
            Self::Events => {
                &[("version", Text("v1")), ("features", Features), ("prediction", Text("yes")), ("score", Double(0.5))]
            }
            Self::Labels => &[("label", Text("yes"))],
            Self::Feedback => &[("name", Text("click")), ("value", Integer(1))],
        };
        let mut fields = vec![("time", Integer(TIME_MS)), ("model", Text("loan"))];
        fields.extend(of_kind);
        for change in changes {
            fields.retain(|(name, _)| *name != change.0);
            fields.push(*change);
        }
        let has_id = !changes.iter().any(|(name, _)| *name == "id");
        fields.retain(|(_, value)| !matches!(value, Packing::Absent));
        let mut bytes = Vec::new();
        rmp::encode::write_map_len(&mut bytes, fields.len() as u32 + u32::from(has_id)).unwrap();
        if has_id {
            rmp::encode::write_str(&mut bytes, "id").unwrap();
            rmp::encode::write_str(&mut bytes, id).unwrap();
        }
        for (name, value) in fields {
            rmp::encode::write_str(&mut bytes, name).unwrap();
            value.write(&mut bytes);
        }
        bytes
    }

    /// Three rows as an Arrow stream; a column of the second one has another value.
    pub(super) fn stream(self, ids: [&str; 3], (changed, value): (&str, Option<&str>)) -> Vec<u8> {
        let of_kind: &[(&str, &str)] = match self {
            Self::Events => &[("version", "v1"), ("features.country", "DE"), ("prediction", "yes")],
            Self::Labels => &[("label", "yes")],
            Self::Feedback => &[("name", "click"), ("value", "1")],
        };
        let rest = [("time", "2023-11-14T22:13:20Z"), ("model", "loan")];
        let mut columns = vec![("id", ids.map(Some))];
        columns.extend(rest.iter().chain(of_kind).map(|(name, text)| (*name, [Some(*text); 3])));
        for (_, values) in columns.iter_mut().filter(|(name, _)| *name == changed) {
            values[1] = value;
        }
        let mut columns: Vec<(&str, ArrayRef)> =
            columns.into_iter().map(|(name, texts)| (name, Arc::new(StringArray::from(texts.to_vec())) as _)).collect();
        if self == Self::Events {
            let numbers = |value| Arc::new(Float64Array::from(vec![value; 3])) as ArrayRef;
            columns.extend([
                ("features.amount", numbers(1.0)),
                ("features.age", numbers(30.0)),
                ("score", numbers(0.5)),
            ]);
        }
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    }
}

impl Packing {
    fn write(self, bytes: &mut Vec<u8>) {
        use rmp::encode::{write_bin, write_f32, write_f64, write_nil, write_sint, write_str, write_uint};
        match self {
            Self::Absent => {}
            Self::Nothing => write_nil(bytes).unwrap(),
            Self::Integer(value) => {
                write_sint(bytes, value).unwrap();
            }
            Self::Unsigned(value) => {
                write_uint(bytes, value).unwrap();
            }
            Self::Single(value) => write_f32(bytes, value).unwrap(),
            Self::Double(value) => write_f64(bytes, value).unwrap(),
            Self::Text(text) => write_str(bytes, text).unwrap(),
            Self::Binary(data) => write_bin(bytes, data).unwrap(),
            Self::Features => bytes.extend_from_slice(b"\x93\x01\x1e\xa2DE"),
            Self::Raw(raw) => bytes.extend_from_slice(raw),
        }
    }
}

/// Puts in what `$` stands for.
pub(super) fn words(text: &str, id: &str) -> String {
    const HOUR_MS: u128 = 3_600_000;
    let now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let meanings = [
        ("$ID", format!("\"id\":\"{id}\"")),
        ("$FIRST", FIRST.to_owned()),
        ("$LONG", "x".repeat(70_000)),
        ("$E", "\"time\":$T,\"model\":\"loan\",\"version\":\"v1\",\"features\":$F".to_owned()),
        ("$L", "\"time\":$T,\"model\":\"loan\",\"label\":\"yes\"".to_owned()),
        ("$B", "\"time\":$T,\"model\":\"loan\",\"name\":\"click\",\"value\":1".to_owned()),
        ("$T", TIME_MS.to_string()),
        // Half an hour more, so that the hours told are the same however long the test takes.
        ("$AHEAD", (now_ms + 1_000 * HOUR_MS + HOUR_MS / 2).to_string()),
        ("$F", "{\"amount\":1,\"age\":30,\"country\":\"DE\"}".to_owned()),
        ("$DEEP", format!("{}{}", "[".repeat(40), "]".repeat(40))),
        ("$HUGE", "x".repeat(1_100_000)),
    ];
    meanings.iter().fold(text.to_owned(), |text, (word, meaning)| text.replace(word, meaning))
}
