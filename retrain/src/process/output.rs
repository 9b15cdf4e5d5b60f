//! The end of a program's output: read through a pipe for as long as it writes, and forgotten but for the last bytes.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use streams::outside::plain;

/// Bytes of output that are kept.
const KEPT_BYTES: usize = 4 << 10;

/// How long the end of the output is waited for once every process has ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// The last lines of a program's output, their control characters escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastLines {
    /// The lines.
    pub lines: Vec<String>,
    /// Bytes in front of the first that were left out because there were too many; 0 where only whole lines were.
    pub bytes_left_out: u64,
}

impl std::fmt::Display for LastLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.lines.as_slice(), self.bytes_left_out) {
            ([], _) => write!(f, "; it wrote nothing"),
            (lines, 0) => write!(f, "; its last lines were:\n{}", lines.join("\n")),
            (lines, bytes) => write!(f, "; its last lines were, after {bytes} bytes:\n…{}", lines.join("\n")),
        }
    }
}

/// The output of a program that runs.
#[derive(Debug)]
pub(super) struct Output {
    tail: Arc<Mutex<Tail>>,
    ended: Receiver<()>,
}

#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    /// Bytes that went before them.
    forgotten: u64,
}

impl Output {
    /// Reads what comes through the pipe, on a thread that ends with the last process that could write.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(super) fn follow(mut pipe: PipeReader) -> io::Result<Self> {
        let tail = Arc::new(Mutex::new(Tail::default()));
        let (running, ended) = channel();
        let of_thread = Arc::clone(&tail);
        std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut chunk = vec![0; 64 << 10];
            // An error ends the reading as the end does: what is there is what there is to tell.
            while let Ok(read @ 1..) = pipe.read(&mut chunk) {
                let mut tail = of_thread.lock().unwrap_or_else(PoisonError::into_inner);
                tail.push(chunk.get(..read).unwrap_or_default());
            }
            drop(running);
        })?;
        Ok(Self { tail, ended })
    }

    /// The last lines, at most so many.
    pub(super) fn last_lines(&self, most: usize) -> LastLines {
        // Where something unkillable still holds the pipe, its output so far is taken.
        let _: Result<(), _> = self.ended.recv_timeout(PATIENCE);
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).lines(most)
    }
}

impl Tail {
    fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend(chunk);
        let over = self.bytes.len().saturating_sub(KEPT_BYTES);
        self.bytes.drain(..over);
        self.forgotten += over as u64;
    }

    fn lines(&self, most: usize) -> LastLines {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        // Lossy, as a program may write what is no text; a progress bar goes back to the start of its line.
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.split(['\n', '\r']).filter(|line| !line.is_empty()).collect();
        let first = lines.len().saturating_sub(most);
        let bytes_left_out = if first == 0 { self.forgotten } else { 0 };
        let lines = lines.into_iter().skip(first).map(|line| plain(line, KEPT_BYTES)).collect();
        LastLines { lines, bytes_left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(chunks: &[&[u8]], most: usize) -> String {
        let mut tail = Tail::default();
        chunks.iter().for_each(|chunk| tail.push(chunk));
        tail.lines(most).to_string()
    }

    #[test]
    fn what_goes_before_the_last_bytes_is_told_as_left_out() {
        let message = told(&[&[b'y'; 1 << 20], b"\nlast"], 20);
        assert!(
            message.len() < 5_000 && message.contains("lines were, after 1044485 bytes:\n…yyy"),
            "{}",
            message.len()
        );
        assert!(message.ends_with("y\nlast"));
        assert_eq!(told(&[b"one\n", b"tw", b"o\n\nthree\n"], 2), "; its last lines were:\ntwo\nthree");
        assert_eq!(told(&[b"10 %\r50 %\r100 %"], 1), "; its last lines were:\n100 %");
        assert_eq!(told(&[], 2), "; it wrote nothing");
    }

    #[test]
    fn output_is_quoted_without_its_control_characters() {
        assert_eq!(
            told(&[b"\x1b[31mred\x07 \xff\tok"], 5),
            "; its last lines were:\n\\u{1b}[31mred\\u{7} \u{fffd}\\tok"
        );
    }
}
