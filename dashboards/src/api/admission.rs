//! Who may come in now: rates of each caller, a number of requests on their way to the log, and bytes of bodies that are
//! still coming in.
//!
//! A place among the requests is taken when the body is there, so that a body which comes slowly, or never, keeps nobody out.
//! What has come of it is counted by the byte: memory is bounded by these bytes and by places times the largest body.

use crate::api::ApiOptions;
use crate::api::error::{Problem, ProblemKind};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a second in the long run.
    pub per_second: NonZeroU32,
    /// Requests that may come at once after a quiet time.
    pub burst: NonZeroU32,
}

/// One rate.
struct Rate {
    limit: RateLimit,
    limiter: DefaultDirectRateLimiter,
}

impl Rate {
    fn new(limit: RateLimit) -> Self {
        let limiter = RateLimiter::direct(Quota::per_second(limit.per_second).allow_burst(limit.burst));
        Self { limit, limiter }
    }

    /// Counts a request; the problem begins with what came too often.
    fn admit(&self, what: &str) -> Result<(), Problem> {
        self.limiter.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let detail = format!("more than {} {what}", self.limit.per_second);
            Problem::new(ProblemKind::TooManyRequests, detail).retry_after(wait)
        })
    }
}

/// The rates of one caller: of a token, or of everyone where there are none.
pub(super) struct Rates {
    submissions: Option<Rate>,
    commands: Rate,
}

impl Rates {
    pub(super) fn new(options: &ApiOptions) -> Self {
        Self { submissions: options.rate.map(Rate::new), commands: Rate::new(options.command_rate) }
    }

    /// Counts a body of events, labels or feedback.
    pub(super) fn admit_submission(&self) -> Result<(), Problem> {
        let what = "requests a second came in: nothing was written; send larger batches less often";
        self.submissions.as_ref().map_or(Ok(()), |rate| rate.admit(what))
    }

    /// Counts a command.
    pub(super) fn admit_command(&self) -> Result<(), Problem> {
        self.commands
            .admit("commands a second came in: none was taken; each is kept in the log for good, so give it once")
    }
}

/// The rate of requests with wrong tokens.
pub(super) struct Wrongs(Rate);

impl Default for Wrongs {
    fn default() -> Self {
        let (per_second, burst) = (NonZeroU32::MIN.saturating_add(9), NonZeroU32::MIN.saturating_add(19));
        Self(Rate::new(RateLimit { per_second, burst }))
    }
}

impl Wrongs {
    /// Counts one.
    pub(super) fn admit(&self) -> Result<(), Problem> {
        self.0.admit("wrong tokens a second were shown: they are not looked at any more for a moment")
    }
}

/// Bytes that are counted as one, because a semaphore counts no further than 32 bits at a time.
const UNIT: usize = 1 << 10;

/// What is on its way.
pub(super) struct Admission {
    places: Arc<Semaphore>,
    most_in_flight: usize,
    arriving: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(options: &ApiOptions) -> Self {
        let most_in_flight = options.most_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let bodies = (most_in_flight / BODIES_APART).max(LEAST_BODIES);
        let units = options.most_body_bytes.div_ceil(UNIT).saturating_add(1).saturating_mul(bodies);
        let arriving = Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS)));
        Self { places: Arc::new(Semaphore::new(most_in_flight)), most_in_flight, arriving }
    }

    /// A place among the requests on their way to the log.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let detail = format!(
                "{} requests are already on their way to the log, which cannot keep up: nothing was written; send the same body again",
                self.most_in_flight
            );
            Problem::new(ProblemKind::TooManyRequests, detail).retry_after(Duration::from_secs(1))
        })
    }

    /// Room for the bytes of a body that comes in.
    pub(super) fn room(&self) -> Room {
        Room { of: Arc::clone(&self.arriving), taken: None, bytes: 0, units: 0 }
    }
}

/// Bodies of the largest size that may come in at once, as a part of those on their way to the log, and at the least.
const BODIES_APART: usize = 4;
const LEAST_BODIES: usize = 4;

/// The room that one body takes as it comes in; given back when it is dropped.
pub(super) struct Room {
    of: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    bytes: usize,
    units: usize,
}

impl Room {
    /// Takes room for more bytes.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let bytes = self.bytes.saturating_add(bytes);
        let more = bytes.div_ceil(UNIT).saturating_sub(self.units);
        let Ok(permits) = u32::try_from(more) else { return Err(full()) };
        let taken = Arc::clone(&self.of).try_acquire_many_owned(permits).map_err(|_| full())?;
        match &mut self.taken {
            Some(before) => before.merge(taken),
            None => self.taken = Some(taken),
        }
        (self.bytes, self.units) = (bytes, self.units + more);
        Ok(())
    }
}

fn full() -> Problem {
    let detail = "more bodies come in at once than there is memory for: nothing was written; send the same body again";
    Problem::new(ProblemKind::TooManyRequests, detail).retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_come_in_take_what_they_hold_and_give_it_back() {
        let options = ApiOptions { most_body_bytes: 8 * UNIT, most_in_flight: 1, ..ApiOptions::default() };
        let admission = Admission::new(&options);
        let mut rooms: Vec<_> = (0..LEAST_BODIES).map(|_| admission.room()).collect();
        let mut many: Vec<_> = (0..36).map(|_| admission.room()).collect();
        many.iter_mut().for_each(|room| room.grow(1).unwrap());
        assert!(rooms[0].grow(1).is_err(), "as many as there is room for, each counted as a unit at the least");
        drop(many);
        for room in &mut rooms {
            room.grow(8 * UNIT - 1).unwrap();
            room.grow(1).unwrap();
        }
        assert!(rooms[0].grow(8 * UNIT).is_err());
        rooms.pop();
        assert!(rooms[0].grow(UNIT).is_ok());
    }
}
