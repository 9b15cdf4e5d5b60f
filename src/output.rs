//! What a command says.
//!
//! A reader of standard output that has gone away (`… | head`) is no error: what is said then goes nowhere, and the command
//! ends as it would have. Whatever else keeps it from being written, as a full disk, is one. Where standard error cannot be
//! written there is nobody to be told.

use anyhow::{Context, Result};
use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// Says a line on standard output: `say(format_args!("{rows} rows"))`.
///
/// # Errors
/// When standard output cannot be written, unless because nobody reads it any more.
pub fn say(line: Arguments<'_>) -> Result<()> {
    say_all(format_args!("{line}\n"))
}

/// Says text that ends its lines itself.
///
/// # Errors
/// As [`say`].
pub fn say_all(text: Arguments<'_>) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output cannot be written"),
        _ => Ok(()),
    }
}

/// Says a line on standard error.
pub fn note(line: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
