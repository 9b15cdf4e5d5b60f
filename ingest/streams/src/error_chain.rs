//! An error and what caused it as one sentence, for log lines, lineage and the command line.
//!
//! Some errors repeat their cause in their own message and some do not, so nothing that prints either the message alone or
//! every link of the chain says everything once.

use crate::outside::legible;
use std::error::Error;

/// The most bytes of a sentence.
const MOST_BYTES: usize = 16 << 10;

/// The message of an error, followed by those of its causes that it does not contain already. Errors quote what came from
/// outside: control characters are escaped, lines are kept, and what is very long is cut.
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let message = source.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = source.source();
    }
    legible(&text, MOST_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::StageError;

    #[derive(Debug, thiserror::Error)]
    #[error("the rows do not fit")]
    struct Silent(#[source] std::io::Error);

    #[test]
    fn every_cause_is_told_once() {
        let disk = || std::io::Error::other("the disk is full");
        let repeated = StageError::failed("committing", disk());
        assert_eq!(sentence(&repeated), "committing: the disk is full");
        assert_eq!(sentence(&Silent(disk())), "the rows do not fit: the disk is full");
        let both = StageError::failed("training", Silent(disk()));
        assert_eq!(sentence(&both), "training: the rows do not fit: the disk is full");
        let quoted = std::io::Error::other(format!("no operator \u{1b}[2J{}", "x".repeat(1 << 20)));
        assert!(sentence(&quoted).starts_with("no operator \\u{1b}[2Jxxx") && sentence(&quoted).len() < 17_000);
    }
}
