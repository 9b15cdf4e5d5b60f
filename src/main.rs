//! The driftline binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    driftline::commands::main()
}
