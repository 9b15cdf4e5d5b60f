//! What brings events in.
//!
//! Modules stand in the order in which data flows through them: the log and its runner, the columns that records are decoded
//! into, what a model needs to be watched, the label join, the query that fills windows, the stages, and the archive with
//! what is read back from it.

pub mod cloud_event;
#[doc(hidden)]
pub mod crash;
pub mod error_chain;
pub mod log;
pub mod outside;
pub mod runner;
pub mod stage;
pub mod store;
pub mod topics;

pub mod columns;
pub mod control;
pub mod schemas;

pub mod decode;
pub mod partition;
pub mod repartition;

pub mod join;
pub mod segments;
pub mod watched;
pub mod window_query;

pub mod scan;

pub mod references;

pub mod capture;
pub mod catch_up;
pub mod partial;

pub mod monitor;

pub mod archive;
pub mod history;
pub mod learn;

#[cfg(test)]
mod fixtures;
