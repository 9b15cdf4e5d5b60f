//! What brings events in.

pub mod cloud_event;
pub mod columns;
pub mod log;
pub mod runner;
pub mod stage;
pub mod topics;
