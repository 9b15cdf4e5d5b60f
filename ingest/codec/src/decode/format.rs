//! Which of the wire formats a record is in.

use streams::log::Record;

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON, JSON lines among it.
    Json,
    /// MessagePack.
    MessagePack,
    /// An Arrow IPC stream.
    Arrow,
}

/// Names of formats; the first of each is the one that is written.
const CONTENT_TYPES: [(&str, Format); 8] = [
    ("application/json", Format::Json),
    ("application/x-ndjson", Format::Json),
    ("application/jsonl", Format::Json),
    ("application/json-lines", Format::Json),
    ("application/msgpack", Format::MessagePack),
    ("application/x-msgpack", Format::MessagePack),
    ("application/vnd.msgpack", Format::MessagePack),
    ("application/vnd.apache.arrow.stream", Format::Arrow),
];

impl Format {
    /// The format of a record: by its `content-type` header, else by its first bytes. `None` where neither tells.
    pub fn of(record: &Record) -> Option<Self> {
        match record.header("content-type") {
            Some(value) => Self::of_content_type(std::str::from_utf8(value).ok()?),
            None => Self::of_bytes(record.value.as_deref()?),
        }
    }

    /// The format that a content type names. Parameters such as `charset` are ignored.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next()?.trim();
        let (_, format) = CONTENT_TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(essence))?;
        Some(*format)
    }

    /// The format that the first bytes tell: brackets and white space are JSON, the markers of maps and arrays MessagePack,
    /// and with the mark of a message Arrow begins.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'{' | b'[' | b' ' | b'\n' | b'\r' | b'\t', ..] | [0xef, 0xbb, 0xbf, ..] => Some(Self::Json),
            [0x80..=0x9f | 0xdc..=0xdf, ..] => Some(Self::MessagePack),
            [0xff, 0xff, 0xff, 0xff, ..] => Some(Self::Arrow),
            _ => None,
        }
    }

    /// The content type that names the format.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::MessagePack => "application/msgpack",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}
