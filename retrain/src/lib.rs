//! What acts.

pub mod lifecycle;
pub mod request;
