//! Who may come in now: a rate, where one is configured, and a number of requests in flight.

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

pub(super) struct Admission {
    clock: DefaultClock,
    rate: Option<(RateLimit, DefaultDirectRateLimiter)>,
    places: Arc<Semaphore>,
    most_in_flight: usize,
}

impl Admission {
    pub(super) fn new(options: &ApiOptions) -> Self {
        let limiter = |rate: RateLimit| RateLimiter::direct(Quota::per_second(rate.per_second).allow_burst(rate.burst));
        let most_in_flight = options.most_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            clock: DefaultClock::default(),
            rate: options.rate.map(|rate| (rate, limiter(rate))),
            places: Arc::new(Semaphore::new(most_in_flight)),
            most_in_flight,
        }
    }

    /// Counts a request against the rate.
    pub(super) fn admit(&self) -> Result<(), Problem> {
        let Some((rate, limiter)) = &self.rate else { return Ok(()) };
        limiter.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            let detail = format!(
                "more than {} requests a second came in: nothing was written; send larger batches less often",
                rate.per_second
            );
            Problem::new(ProblemKind::TooManyRequests, detail).retry_after(wait)
        })
    }

    /// A place among the requests in flight.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let detail = format!(
                "{} requests are already on their way to the log, which cannot keep up: nothing was written; send the same body again",
                self.most_in_flight
            );
            Problem::new(ProblemKind::TooManyRequests, detail).retry_after(Duration::from_secs(1))
        })
    }
}
