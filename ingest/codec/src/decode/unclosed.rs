//! The end of a value of JSON in which something is wrong, by its brackets alone.

use super::json::special;

/// Brackets whose end was looked for in vain, so that it is not looked for again from each of them.
#[derive(Default)]
pub(super) struct Unclosed {
    brackets: Vec<usize>,
    /// Where that search ended.
    to: usize,
}

impl Unclosed {
    /// The end of the value at `start` by its brackets alone, or of what stands there before the next comma or closing
    /// bracket. `None` where the brackets do not close, or text runs over the end of its line.
    ///
    /// Of the search in vain that went furthest those brackets are kept that it left open. A later one begins behind its
    /// end, or comes to a bracket that is among them or closes; so all searches of a record together take time in
    /// proportion to its bytes.
    pub(super) fn end_of_value(&mut self, bytes: &[u8], start: usize) -> Option<usize> {
        let mut open = Vec::new();
        let mut at = start;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'{' | b'[' if open.is_empty() && self.brackets.binary_search(&at).is_ok() => return None,
                b'{' | b'[' => open.push(at),
                b',' if open.is_empty() && at > start => return Some(at),
                b'}' | b']' if open.is_empty() && at > start => return Some(at),
                b'}' | b']' => {
                    open.pop();
                    if open.is_empty() {
                        return Some(at + 1);
                    }
                }
                b'"' => match end_of_text(bytes, at + 1) {
                    Some(end) => at = end,
                    None => break,
                },
                _ => {}
            }
            at += 1;
        }
        if at > self.to {
            (self.brackets, self.to) = (open, at);
        }
        None
    }
}

/// Where the closing quote of text stands.
fn end_of_text(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = special(bytes, at).at;
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            b'\n' => return None,
            _ => at += 1,
        }
    }
}
