//! What acts: from a verdict to a promoted model.
//!
//! Modules stand in the order in which data flows through them: what may cause a training and what the controller makes of
//! it, how a challenger is trained and answers, how it is judged, and what the registry keeps of it.

pub mod policy;
pub mod request;
pub mod schedule;

pub mod controller;
pub mod controller_stage;
pub mod progress;

pub mod answers;
pub mod encoding;
pub mod job;
mod linear;
pub mod onnx_file;
pub mod plain_file;
pub mod process;
pub mod rows_file;
pub mod scorer;
pub mod trainer;

pub mod losses;

pub mod cross_fit;
pub mod recalibration;

pub mod episode;
pub mod evidence;
pub mod gate;
pub mod trial;

pub mod command;
pub mod lifecycle;
pub mod registry;
pub mod trainer_stage;

pub mod trainer_deps;

pub mod triton;

#[cfg(test)]
mod fixtures;
