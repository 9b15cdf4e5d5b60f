//! What brings events in.

pub mod columns;
pub mod decode;
pub mod log;
pub mod partition;
pub mod stage;
pub mod topics;
