//! What decides, and only decides.
//!
//! Modules stand in the order in which data flows through them: what a model's columns are and how time is cut, how rows
//! are counted, how counts are compared, and what the comparison amounts to. Nothing here reads, writes, waits, draws
//! hidden random numbers or asks what time it is.

mod normal;
mod random;

pub mod spelling;

pub mod schema;
pub mod windows;

pub mod layout;
pub mod moments;
pub mod profile;
pub mod quality;

pub mod reference;

pub mod estimate;
pub mod joint;

pub mod statistics;

pub mod parity;

pub mod threshold;

pub mod panel;

pub mod alarm;

pub mod sequential;

pub mod verdict;
