//! How a body is packed: as it is, or with gzip, in one member or several, as parallel programs and log shippers write it.
//!
//! It is unpacked once it is there, and whole: a decoder that stopped at the first member would lose the rest in silence.

use crate::api::error::{Problem, ProblemKind};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use std::io::Read;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all.
    Identity,
    /// With gzip.
    Gzip,
}

impl Encoding {
    /// As the headers say.
    pub(super) fn of_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(encoding) = headers.get(header::CONTENT_ENCODING) else { return Ok(Self::Identity) };
        let encoding = String::from_utf8_lossy(encoding.as_bytes()).to_ascii_lowercase();
        match encoding.trim() {
            "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            other => {
                let detail = format!("content-encoding `{other}` is not known: send gzip, or no encoding");
                Err(Problem::new(ProblemKind::UnsupportedMediaType, detail))
            }
        }
    }

    /// The body without its packing, of at most so many bytes.
    pub(super) fn unpack(self, body: Bytes, most: usize) -> Result<Bytes, Problem> {
        if self == Self::Identity {
            return Ok(body);
        }
        let mut unpacked = Vec::new();
        let mut decoder = MultiGzDecoder::new(body.as_ref()).take(most as u64 + 1);
        decoder.read_to_end(&mut unpacked).map_err(|error| {
            let detail = format!("the body is not the gzip it claims to be ({error}): nothing was written");
            Problem::new(ProblemKind::BadRequest, detail)
        })?;
        if unpacked.len() > most { Err(too_large(most)) } else { Ok(unpacked.into()) }
    }
}

/// A body that holds more than may come at once.
pub(super) fn too_large(most: usize) -> Problem {
    let detail = format!("the body holds more than {most} bytes (counted after decompression): send smaller batches");
    Problem::new(ProblemKind::TooLarge, detail).with("most_bytes", most)
}
