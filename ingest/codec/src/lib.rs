//! From bytes to columns: the schemas that writers register, and the decoder that turns records of every wire format into
//! Arrow batches.
//!
//! This crate does not know DataFusion: it decodes, and asks no questions of what it has decoded.

pub mod columns;
pub mod schemas;

pub mod decode;
