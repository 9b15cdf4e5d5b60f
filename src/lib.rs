//! Driftline: the command line, the configuration file, the sources of a replay, and the service that wires the stages to
//! the log. Start reading at [`service`].

pub mod cli;
pub mod command;
pub mod output;

pub mod compare;
pub mod config;
pub mod init;
pub mod ordered;

pub mod source;
pub mod table;

pub mod service;
pub mod setup;
pub mod trainer_deps;
pub mod transactional_id;
pub mod work_folder;

pub mod bootstrap;
pub mod champion;
pub mod intake;
pub mod maintenance;
pub mod orders;
pub mod projector;
pub mod publisher;
pub mod silence;
pub mod telemetry;
pub mod topic_reader;

pub mod balance;
pub mod event_feed;
pub mod remote;
pub mod replay;
pub mod reporter;

pub mod bench;
pub mod demo;

use mimalloc::MiMalloc;

/// Decoding makes and drops many small buffers, on threads of several stages: the system's allocator takes a quarter of a
/// processor's time for that. It is here so that the binary that is tested has it too.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
