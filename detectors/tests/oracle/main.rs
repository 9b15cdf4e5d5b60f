//! Holds the statistics, the sequential detectors and the measures of quality against the answers of other
//! implementations.
//!
//! The answers lie in a folder of their own, `$DRIFTLINE_SHARED` or `../shared` beside the workspace. Where it is
//! absent the tests say so and pass; with `DRIFTLINE_REQUIRE_SHARED=1` its absence is a failure. Each test prints what
//! it compared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "the whole file is a test")]

mod shared;
mod tally;

mod moa;
mod nannyml;
mod nannyml_quality;
mod parity;
mod scipy;
mod sequential;
mod windows;
