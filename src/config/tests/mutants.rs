//! Configurations whose letters were changed: each is taken or refused with its path, and none ends the program.
//!
//! `PROPTEST_CASES` has more of them looked at.

use super::{EXAMPLE, VALID, parse};
use crate::config::{ConfigError, check};
use proptest::prelude::*;
use proptest::sample::Index;

/// What people and programs put in the place of something else.
const ODD: [&str; 18] = [
    "",
    "~",
    "[]",
    "{}",
    "- ",
    ": ",
    "\t",
    "\u{feff}",
    "&a",
    "*a",
    "!!binary ",
    "|",
    "99999999999999999999",
    "-1",
    ".nan",
    "1e400",
    "\"",
    "0x7f",
];

/// A change of the text at a place: letters that go, and what comes instead.
fn change() -> impl Strategy<Value = (Index, usize, &'static str)> {
    (any::<Index>(), 0..12usize, prop::sample::select(&ODD[..]))
}

fn changed(text: &str, changes: &[(Index, usize, &str)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (place, gone, new) in changes {
        let start = place.index(letters.len().max(1)).min(letters.len());
        let end = (start + gone).min(letters.len());
        letters.splice(start..end, new.chars());
    }
    letters.into_iter().collect()
}

proptest! {
    #[test]
    fn a_configuration_is_taken_or_refused(is_example: bool, changes in prop::collection::vec(change(), 1..5)) {
        let text = changed(if is_example { EXAMPLE } else { VALID }, &changes);
        match parse(&text) {
            Ok(config) => drop(check(&config)),
            Err(ConfigError::Invalid { file, line, .. }) => {
                prop_assert!(file.ends_with("driftline.yaml"));
                prop_assert!(line <= text.lines().count() as u64 + 1, "line {} of\n{}", line, text);
            }
            Err(other) => prop_assert!(!other.to_string().is_empty()),
        }
    }

    #[test]
    fn aliases_that_stand_for_aliases_take_no_more_than_their_text(levels in 2..40usize) {
        let mut text = "version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..levels {
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", ")));
        }
        prop_assert!(parse(&text).is_err());
    }
}
