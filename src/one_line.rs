//! Logs in which an event is a line, whatever text from outside stands in it.
//!
//! A reason, a row or a program's output may hold the ends of lines, and with them lines that look like Driftline's own. A
//! subscriber writes an event as a whole, so all of its ends but the last are written as `\\n` and `\\r`.

use std::io::{self, Stderr, Write};

/// Standard error, one line an event.
pub fn stderr() -> OneLine<Stderr> {
    OneLine(io::stderr())
}

/// What writes events as lines.
pub struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (text, end) = match event.strip_suffix(b"\n") {
            Some(text) => (text, "\n"),
            None => (event, ""),
        };
        if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            self.0.write_all(event)?;
            return Ok(event.len());
        }
        let mut line = Vec::with_capacity(event.len() + 16);
        for byte in text {
            match byte {
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                byte => line.push(*byte),
            }
        }
        line.extend_from_slice(end.as_bytes());
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_never_becomes_a_line_of_its_own() {
        let mut written = OneLine(Vec::new());
        written.write_all(b"WARN refused: x\n2026-12-01 INFO promoted\r\nby ann\n").unwrap();
        written.write_all(b"INFO next\n").unwrap();
        let expected = "WARN refused: x\\n2026-12-01 INFO promoted\\r\\nby ann\nINFO next\n";
        assert_eq!(String::from_utf8(written.0).unwrap(), expected);
    }
}
