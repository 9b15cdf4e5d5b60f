//! What people see: the metrics with their rules and dashboards, the pages, and the HTTP API with the edge through which
//! events and commands come in.
//!
//! Everything shown is a fold of the log's `verdicts`, `retrain` and `models` topics; nothing here is a truth of its own,
//! and nothing here writes to the log. The two traits of [`api`] are where a request leaves this crate.

pub mod catalogue;
mod family;
mod process;

pub mod exporter;
pub mod telemetry;

pub mod audit;
pub mod dashboard;
pub mod read_model;

pub mod api;
pub mod page;

pub mod grafana;
pub mod rules;

pub mod exports;

#[cfg(test)]
mod fixtures;
