//! Requests that are refused whole: nothing of their bodies is kept, and what is sent before and after them is.

use super::table::words;
use driftline_tests::{Answer, Running, Sent};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// A request, and its answer.
pub(super) struct Request {
    pub(super) name: &'static str,
    pub(super) ask: Ask,
    pub(super) status: u16,
    pub(super) says: &'static str,
}

pub(super) enum Ask {
    Get(&'static str),
    /// A body for a path, with its content type.
    Post(&'static str, &'static str, Body),
    /// The same without a content type.
    PostUntyped(&'static str, Body),
    /// The same with a content encoding.
    PostEncoded(&'static str, &'static str, Body),
}

pub(super) enum Body {
    /// Text with `$` as in rows.
    Text(&'static str),
    Bytes(&'static [u8]),
    /// Good events, zipped, of which the last bytes are missing.
    CutGzip,
    /// Little that unzips to 64 MiB.
    Bomb,
    /// More bytes than a body may have.
    Large,
}

/// The body limit of the service under test.
pub(super) const MOST_BODY_BYTES: usize = 2 << 20;

const JSON: &str = "application/json";
const ARROW: &str = "application/vnd.apache.arrow.stream";
const GOOD: &str = r#"{$ID,$E,"prediction":"yes"}"#;

/// A table of requests: `name: ask => status, detail;`.
macro_rules! requests {
    ($($name:literal : $ask:expr => $status:literal, $says:literal;)*) => {
        &[$(Request { name: $name, ask: $ask, status: $status, says: $says }),*]
    };
}

use Ask::{Get, Post, PostEncoded, PostUntyped};
use Body::{Bomb, Bytes, CutGzip, Large, Text};

pub(super) const REQUESTS: &[Request] = requests! {
    "an empty body":
        Post("/v1/events", JSON, Text(""))
        => 400, "the body is empty: send one row of events or more";
    "a body of white space":
        Post("/v1/labels", JSON, Text(" \n\t\n"))
        => 400, "none of the 1 rows is good; row 0: the body has no event at byte 0: send at least one event";
    "an empty array":
        Post("/v1/feedback", JSON, Text("[]"))
        => 400, "none of the 1 rows is good; row 0: the body has no event at byte 0: send at least one event";
    "an empty array in MessagePack":
        Post("/v1/events", "application/msgpack", Bytes(b"\x90"))
        => 400, "none of the 1 rows is good; row 0: the body has no event at byte 0: send at least one event";
    "a wrong content type":
        Post("/v1/events", "text/csv", Text(GOOD))
        => 415, "content-type `text/csv` is not taken: send one of application/json, application/x-ndjson, application/jsonl, application/msgpack, application/vnd.msgpack, application/x-msgpack, application/vnd.apache.arrow.stream";
    "no content type":
        PostUntyped("/v1/events", Text(GOOD))
        => 415, "the request names no content-type: send one of application/json, application/x-ndjson, application/jsonl, application/msgpack, application/vnd.msgpack, application/x-msgpack, application/vnd.apache.arrow.stream";
    "an unknown encoding":
        PostEncoded("/v1/events", "br", Text(GOOD))
        => 415, "content-encoding `br` is not known: send gzip, or no encoding";
    "gzip that is none":
        PostEncoded("/v1/events", "gzip", Text(GOOD))
        => 400, "the body is not the gzip it claims to be (invalid gzip header): nothing was written";
    "gzip that ends early":
        PostEncoded("/v1/events", "gzip", CutGzip)
        => 400, "the body is not the gzip it claims to be (incomplete deflate stream): nothing was written";
    "a gzip bomb":
        PostEncoded("/v1/events", "gzip", Bomb)
        => 413, "the body holds more than 2097152 bytes (counted after decompression): send smaller batches";
    "a body that is too large":
        Post("/v1/events", JSON, Large)
        => 413, "the body holds more than 2097152 bytes (counted after decompression): send smaller batches";
    "MessagePack that claims to be JSON":
        Post("/v1/labels", JSON, Bytes(b"\x81\xa2id\xa1a"))
        => 400, "none of the 1 rows is good; row 0: expected a value at byte 0: check the encoder that wrote it, and that the content type names its format";
    "JSON that claims to be MessagePack":
        Post("/v1/events", "application/msgpack", Text(GOOD))
        => 400, "none of the 2 rows is good; row 0: the row is an integer at byte 0: an event is a map with id, time, model, …";
    "JSON that claims to be Arrow":
        Post("/v1/events", ARROW, Text(GOOD))
        => 400, "none of the 1 rows is good; row 0: this is not an Arrow IPC stream at byte 0: check the encoder that wrote it, and that the content type names its format";
    "an Arrow stream that ends early":
        Post("/v1/events", ARROW, Bytes(b"\xff\xff\xff\xff\x10\0\0\0\0\0"))
        => 400, "none of the 1 rows is good; row 0: the bytes end within a message of the stream at byte 10: send the whole event";
    "events by another method":
        Get("/v1/events")
        => 405, "/v1/events does not answer GET; the `allow` header names the methods that it does";
    "a path that is not there":
        Post("/v1/event", JSON, Text(GOOD))
        => 404, "there is nothing at /v1/event: / lists what there is";
    "an unknown model in a path":
        Get("/v1/models/laon")
        => 404, "nothing is known of a model `laon`; /v1/models lists those that are known";
    "a verdict that is not there":
        Get("/v1/verdicts/00ff")
        => 404, "no verdict `00ff` is at hand: older ones are in the topic `verdicts` and its archive";
    "a limit of nothing":
        Get("/v1/verdicts?limit=0")
        => 400, "Failed to deserialize query string: limit: limit must be between 1 and 1000, got 0";
    "an unknown parameter":
        Get("/v1/verdicts?modle=loan")
        => 400, "Failed to deserialize query string: modle: unknown field `modle`, expected one of `limit`, `model`, `after`";
    "an unknown model to retrain":
        Post("/v1/models/laon/retrain", JSON, Text(r#"{"reason":"because"}"#))
        => 404, "no model `laon` is configured: it is one of fare, loan";
    "a command without a reason":
        Post("/v1/models/loan/retrain", JSON, Text(r#"{"reason":" "}"#))
        => 400, "`reason` is empty: say who asks, and why";
    "a command with an unknown key":
        Post("/v1/models/loan/retrain", JSON, Text(r#"{"reason":"because","when":"now"}"#))
        => 400, "Failed to deserialize the JSON body into the target type: when: unknown field `when`, expected `reason` at line 1 column 26";
    "a promotion that expects no one":
        Post("/v1/models/loan/promote", JSON, Text(r#"{"version":"v2","reason":"because"}"#))
        => 400, "Failed to deserialize the JSON body into the target type: missing field `expected_champion` at line 1 column 35";
    "a command that is not JSON":
        Post("/v1/models/loan/rollback", JSON, Text("back!"))
        => 400, "Failed to parse the request body as JSON: expected value at line 1 column 1";
};

impl Request {
    pub(super) fn send(&self, service: &Running, id: &str) -> Answer {
        let (path, content_type, encoding, body) = match &self.ask {
            Get(path) => return service.get(path).unwrap(),
            Post(path, content_type, body) => (path, Some(*content_type), None, body),
            PostUntyped(path, body) => (path, None, None, body),
            PostEncoded(path, encoding, body) => (path, Some(JSON), Some(*encoding), body),
        };
        service.post(path, Sent { content_type, encoding, body: &body.bytes(id) }).unwrap()
    }
}

impl Body {
    fn bytes(&self, id: &str) -> Vec<u8> {
        match self {
            Text(text) => words(text, id).into_bytes(),
            Bytes(bytes) => bytes.to_vec(),
            CutGzip => {
                let mut packed = gzip(words(GOOD, id).as_bytes());
                packed.truncate(packed.len() - 12);
                packed
            }
            Bomb => gzip(&vec![b' '; 64 << 20]),
            Large => vec![b' '; MOST_BODY_BYTES + 1],
        }
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
