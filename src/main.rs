//! The driftline binary.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Decoding makes and drops many small buffers, on threads of several stages: the system's allocator takes a tenth of a
/// processor's time for that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    driftline::command::main()
}
