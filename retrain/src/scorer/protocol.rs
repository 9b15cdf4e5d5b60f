//! How rows and answers go between this process and a program that stays up: ONNX Runtime's child and a user's own alike.
//!
//! The program is started with the path of a job file as its last argument:
//!
//! ```json
//! {
//!   "format": 1, "kind": "score", "model": "admission", "version": "v2",
//!   "schema": {"columns": [{"name": "age", "role": "feature", "kind": "numeric"}], "task": {"type": "regression"}},
//!   "protocol": 1, "artifact": "/…/artifact"
//! }
//! ```
//!
//! 1. When it can answer for the artifact it writes one line of JSON to standard output: `{"protocol": 1}`, the version of
//!    this protocol that it speaks; or, when it never will, `{"protocol": 1, "error": "why"}`.
//! 2. Standard input is an Arrow IPC stream of rows: its schema has the features by name, in the model's order (float64, or
//!    utf8 for categories; null is null).
//! 3. Standard output, behind that line, is an Arrow IPC stream of answers: for each batch of rows one batch with as many
//!    rows in the same order, and the columns `prediction` and `score` or `score.<class>` of the schema. It is to be flushed
//!    behind each batch.
//! 4. The end of standard input is the order to end. A batch that cannot be answered is told by ending with another code than
//!    0; the last lines of standard error are quoted. Whatever is to be printed goes there too.
//!
//! In Python that is:
//!
//! ```python
//! import json, sys
//! import pyarrow as pa
//! job = json.load(open(sys.argv[-1]))
//! model = load(job["artifact"])
//! answers = sys.stdout.buffer
//! answers.write(b'{"protocol": 1}\n'); answers.flush()
//! with pa.ipc.open_stream(sys.stdin.buffer) as rows:
//!     fields = [("prediction", pa.string()), ("score", pa.float64())]
//!     with pa.ipc.new_stream(answers, pa.schema(fields)) as writer:
//!         for batch in rows:
//!             writer.write_batch(pa.record_batch(model(batch), schema=writer.schema)); answers.flush()
//! ```

use super::{Scorer, ScoringError};
use arrow::array::RecordBatch;
use arrow::ipc::reader::{StreamDecoder, StreamReader};
use arrow::ipc::writer::StreamWriter;
use detectors::schema::ModelSchema;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use streams::error_chain::sentence;
use streams::outside::plain;

/// The version of this protocol.
pub const PROTOCOL: u32 = 1;

/// The most bytes of the line in which a program says that it is ready.
const MOST_OF_GREETING: u64 = 64 << 10;
/// What every message of an Arrow stream begins with.
const STREAM_BEGINS: [u8; 4] = [0xff; 4];
/// The most bytes of a reason that is told on.
const MOST_OF_REASON: usize = 4_000;

/// The line in which a program says that it is ready, or will never be.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    protocol: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What a program is asked: the members of the job file that a scorer needs.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) protocol: u32,
    pub(crate) schema: ModelSchema,
    pub(crate) artifact: PathBuf,
}

/// Why a program that serves ends before its input does.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The job file cannot be used.
    #[error("the job file {path} cannot be used: {reason}", path = path.display())]
    Job {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The artifact does not answer.
    #[error(transparent)]
    Scoring(#[from] ScoringError),
    /// A stream does not hold what it should.
    #[error("the rows or answers cannot be carried over")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The system refused something.
    #[error("failed at {doing}")]
    Streams {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Answers, as the program's side of the protocol, by what `load` makes of the job.
///
/// # Errors
/// The job cannot be read, the artifact does not load or does not answer, or a stream breaks.
pub(crate) fn serve_with(
    job: &Path,
    load: impl FnOnce(&Request) -> Result<Box<dyn Scorer>, ScoringError>,
    (input, output): (impl Read, impl Write),
) -> Result<(), ServeError> {
    let request = request(job)?;
    let mut output = BufWriter::new(output);
    let loaded = load(&request);
    let error = loaded.as_ref().err().map(|error| sentence(error));
    greet(&mut output, error).map_err(|source| ServeError::Streams { doing: "its greeting", source })?;
    let mut scorer = loaded?;
    let schema = crate::answers::answer_schema(&request.schema.task);
    let mut answers = StreamWriter::try_new(output, &schema)?;
    answers.flush()?;
    for rows in StreamReader::try_new(BufReader::new(input), None)? {
        answers.write(&scorer.score(&rows?)?)?;
        answers.flush()?;
    }
    Ok(answers.finish()?)
}

fn request(job: &Path) -> Result<Request, ServeError> {
    let unusable = |reason: String| ServeError::Job { path: job.to_owned(), reason };
    let text = std::fs::read(job).map_err(|error| unusable(error.to_string()))?;
    let request: Request = serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
    if request.protocol == PROTOCOL {
        return Ok(request);
    }
    Err(unusable(format!("it speaks protocol {}, this program {PROTOCOL}", request.protocol)))
}

fn greet(output: &mut impl Write, error: Option<String>) -> io::Result<()> {
    let greeting = Greeting { protocol: PROTOCOL, error };
    serde_json::to_writer(&mut *output, &greeting)?;
    output.write_all(b"\n")?;
    output.flush()
}

/// What is heard from a program.
#[derive(Debug)]
pub(super) enum Heard {
    /// It is ready.
    Ready,
    /// It will never answer for the artifact.
    Refused(String),
    /// Its answers to the next batch.
    Answers(RecordBatch),
    /// What it writes is not the protocol.
    Garbled(String),
}

/// Tells all that a program says, until it ends or nobody listens. One batch has at most so many bytes.
pub(super) fn listen(output: impl Read, most: u64, mut tell: impl FnMut(Heard) -> bool) {
    let mut output = BufReader::with_capacity(256 << 10, output);
    let greeting = match hear_greeting(&mut output) {
        Ok(Some(greeting)) => greeting,
        // It has ended before it said anything; how is the affair of who looks after it.
        Ok(None) => return,
        Err(reason) => {
            tell(Heard::Garbled(reason));
            return;
        }
    };
    if !tell(greeting) {
        return;
    }
    if let Err(reason) = hear_answers(output, most, |answers| tell(Heard::Answers(answers))) {
        tell(Heard::Garbled(reason));
    }
}

fn hear_greeting(output: &mut impl BufRead) -> Result<Option<Heard>, String> {
    let mut line = Vec::new();
    // A pipe that breaks is one that has ended.
    let _ = output.take(MOST_OF_GREETING).read_until(b'\n', &mut line);
    if line.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line);
    let greeting: Greeting = serde_json::from_slice(&line)
        .map_err(|error| format!("its first line is `{}`: {error}", plain(text.trim_end(), 200)))?;
    if greeting.protocol != PROTOCOL {
        return Err(format!("it speaks protocol {}, and {PROTOCOL} is spoken here", greeting.protocol));
    }
    Ok(Some(match greeting.error {
        Some(reason) => Heard::Refused(plain(&reason, MOST_OF_REASON)),
        None => Heard::Ready,
    }))
}

/// Reads an Arrow stream as it comes. Its lengths are claims of a program: nothing is made room for before it is there.
fn hear_answers(mut output: impl BufRead, most: u64, mut tell: impl FnMut(RecordBatch) -> bool) -> Result<(), String> {
    let mut decoder = StreamDecoder::new();
    let (mut since_last, mut has_begun) = (0, false);
    loop {
        let Ok(chunk) = output.fill_buf() else { return Ok(()) };
        if chunk.is_empty() {
            return Ok(());
        }
        if !has_begun && chunk.iter().zip(STREAM_BEGINS).any(|(found, expected)| *found != expected) {
            return Err(format!("behind its first line comes `{}`", plain(&String::from_utf8_lossy(chunk), 100)));
        }
        has_begun = true;
        let length = chunk.len();
        let mut buffer = arrow::buffer::Buffer::from(chunk);
        output.consume(length);
        since_last += length as u64;
        if since_last > most {
            return Err(format!("a batch of answers has more than {most} bytes"));
        }
        while !buffer.is_empty() {
            let decoded = decoder.decode(&mut buffer).map_err(|error| plain(&error.to_string(), 500))?;
            if let Some(answers) = decoded {
                since_last = 0;
                if !tell(answers) {
                    return Ok(());
                }
            }
        }
    }
}
