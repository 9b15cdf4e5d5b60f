//! What acts.

pub mod controller;
pub mod lifecycle;
pub mod policy;
pub mod progress;
pub mod request;
pub mod schedule;
