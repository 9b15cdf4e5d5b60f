//! What decides, and only decides: profiles, references, statistics, sequential tests, windows and watermarks, panels,
//! alarms, verdicts and labelled quality.
//!
//! Everything here is a function of its arguments. There is no tokio, no Kafka, no DataFusion, no clock, no randomness but
//! seeded draws, and no input or output; a test holds the crate's dependencies to that.

pub mod schema;

pub mod windows;

pub mod layout;

pub mod profile;

pub mod moments;

pub mod quality;

pub mod reference;

pub mod statistics;

pub mod threshold;

pub mod panel;

pub mod alarm;

pub mod verdict;
