//! What comes from programs, files and senders, and stands where people and their terminals read it: never as it came.

/// The text with its lines kept apart, each as [`plain`], cut after so many bytes.
pub fn legible(text: &str, most: usize) -> String {
    let mut lines = text.split('\n').map(|line| plain(line, most)).collect::<Vec<_>>().join("\n");
    if lines.len() > most {
        let more = lines.len() - most;
        lines.truncate(lines.floor_char_boundary(most));
        lines.push_str(&format!("… ({more} bytes more)"));
    }
    lines
}

/// The text on one line, control characters escaped, cut after so many bytes; a cut is told.
pub fn plain(text: &str, most: usize) -> String {
    let mut plain = String::with_capacity(text.len().min(most));
    for (at, character) in text.char_indices() {
        if plain.len() >= most {
            plain.push_str(&format!("… ({} bytes more)", text.len() - at));
            break;
        }
        if character.is_control() || is_direction(character) {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Whether a character turns the direction of what follows, or ends a line, without being a control character.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{legible, plain};

    #[test]
    fn text_from_outside_stays_on_its_line_and_within_its_length() {
        assert_eq!(plain("a\n2026-01-01 ERROR forged\u{1b}[2J", 100), "a\\n2026-01-01 ERROR forged\\u{1b}[2J");
        assert_eq!(plain("né", 10), "né");
        assert_eq!(plain("\u{202e}gpj", 100), "\\u{202e}gpj");
        assert_eq!(plain(&"x".repeat(1_000), 4), "xxxx… (996 bytes more)");
        assert_eq!(legible("one\n\u{7}two", 100), "one\n\\u{7}two");
        assert_eq!(legible(&"é\n".repeat(100), 4), "é\n… (296 bytes more)");
    }
}
