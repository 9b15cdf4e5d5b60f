//! Driftline: the command line, the configuration file, the sources of a replay, and the service that wires the stages to
//! the log. Start reading at [`service`].

pub mod cli;
pub mod commands;
pub mod one_line;
pub mod output;

pub mod config;

pub mod files;

pub mod service;

pub mod replay;

pub mod bench;
pub mod compare;
pub mod demo;

use mimalloc::MiMalloc;

/// Decoding makes and drops many small buffers, on threads of several stages: the system's allocator takes a quarter of a
/// processor's time for that. It is here so that the binary that is tested has it too.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
