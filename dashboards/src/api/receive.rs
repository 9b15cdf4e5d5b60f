//! A body as it comes in: counted by the byte, against its own limit and that of all, and given up when it comes too slowly.

use crate::api::Api;
use crate::api::admission::Room;
use crate::api::encoding::too_large;
use crate::api::error::{Problem, ProblemKind};
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;

/// How long a body may pause.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A body that is there, and the room that it takes until it is dropped.
pub(super) struct Arrived {
    pub(super) body: Bytes,
    pub(super) room: Room,
}

/// Takes in a body of at most so many bytes.
pub(super) async fn receive(api: &Api, request: Request, most: usize) -> Result<Arrived, Problem> {
    refuse_too_long(request.headers(), most)?;
    let patience = api.options.request_timeout;
    let arriving = gather(request.into_body(), api.admission.room(), most);
    timeout(patience, arriving)
        .await
        .unwrap_or_else(|_| Err(too_slow(&format!("it was not there within {patience:?}"))))
}

/// What says itself that it is too long is not waited for.
fn refuse_too_long(headers: &HeaderMap, most: usize) -> Result<(), Problem> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(()) };
    let length = length.to_str().ok().and_then(|length| length.parse::<u64>().ok());
    match length {
        Some(length) if usize::try_from(length).is_ok_and(|length| length <= most) => Ok(()),
        _ => Err(too_large(most)),
    }
}

async fn gather(mut body: Body, mut room: Room, most: usize) -> Result<Arrived, Problem> {
    let mut gathered = BytesMut::new();
    loop {
        let next = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let Ok(frame) = timeout(LONGEST_PAUSE, next).await else {
            return Err(too_slow(&format!("nothing came for {LONGEST_PAUSE:?}")));
        };
        let Some(frame) = frame else { return Ok(Arrived { body: gathered.freeze(), room }) };
        let frame = frame.map_err(|error| {
            Problem::new(ProblemKind::BadRequest, format!("the body could not be received: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if gathered.len().saturating_add(data.len()) > most {
            return Err(too_large(most));
        }
        room.grow(data.len())?;
        // Copied, because a byte of it would keep all of the buffer that it was read into.
        gathered.extend_from_slice(&data);
    }
}

fn too_slow(what: &str) -> Problem {
    let detail = format!("the body came too slowly, {what}: nothing was written; send it in one go");
    Problem::new(ProblemKind::TooSlow, detail)
}
