//! The log and what runs on it.
//!
//! A log holds topics of ordered records; a stage is a deterministic function of what it reads; the runner makes a stage
//! exactly-once on either log. The object store keeps what is too large for a record.
//!
//! This crate knows neither Arrow nor DataFusion, and nothing of what a record's value means.

pub mod error_chain;
pub mod outside;
pub mod secret;

pub mod partition;
pub mod topics;

#[doc(hidden)]
pub mod crash;
pub mod log;

pub mod cloud_event;
pub mod control;

pub mod stage;

pub mod runner;
pub mod store;
