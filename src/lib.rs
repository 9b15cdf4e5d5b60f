//! Driftline: the command line, the configuration file, the sources of a replay, and the service that wires the stages to
//! the log.

pub mod cli;
pub mod config;
pub mod demo;
pub mod init;
pub mod ordered;
pub mod source;
