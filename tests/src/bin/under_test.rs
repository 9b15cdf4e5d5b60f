//! The driftline binary once more, where the flow tests can find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    driftline::commands::main()
}
