//! What acts.

pub mod command;
pub mod controller;
pub mod controller_stage;
pub mod evidence;
pub mod gate;
pub mod lifecycle;
pub mod policy;
pub mod progress;
pub mod registry;
pub mod request;
pub mod schedule;
pub mod scorer;
pub mod trainer;
pub mod trainer_stage;
pub mod trial;
pub mod workshop;
