//! The demo's parts that need no service.

pub mod simulation;
