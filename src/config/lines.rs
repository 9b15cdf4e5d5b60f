//! Finds the line on which a setting stands.
//!
//! Validation speaks of paths (`models.fraud.windows.size`); people look for lines. The text is read a second time, and
//! only when something is wrong, into a tree that keeps nothing but keys and positions.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// The line of the deepest part of `path` that the text has, from 1; 0 when the text cannot be read.
///
/// Keys are matched greedily against the path, since a key may hold a dot itself.
pub(super) fn line_of(text: &str, path: &str) -> u64 {
    let Ok(root) = serde_saphyr::from_str::<Spanned<Node>>(text) else { return 0 };
    let (mut node, mut rest, mut line) = (&root.value, path, root.referenced.line());
    while let Some((entry, remainder)) = node.child(rest) {
        line = entry.line;
        node = &entry.node;
        rest = remainder;
    }
    line
}

#[derive(Debug, Default)]
struct Node {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: String,
    line: u64,
    node: Node,
}

impl Node {
    /// The entry whose key begins `path`, and what is left of the path after it.
    fn child<'a>(&self, path: &'a str) -> Option<(&Entry, &'a str)> {
        self.entries
            .iter()
            .filter_map(|entry| {
                let rest = path.strip_prefix(entry.key.as_str())?;
                let ends = rest.is_empty() || rest.starts_with('.') || rest.starts_with('[');
                (ends && !entry.key.is_empty()).then(|| (entry, rest.strip_prefix('.').unwrap_or(rest)))
            })
            .max_by_key(|(entry, _)| entry.key.len())
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

/// Every scalar is a leaf, whatever it holds.
macro_rules! leaf {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Node, E> { Ok(Node::default()) })*
    };
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    leaf!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let node = map.next_value()?;
            entries.push(Entry { line: key.referenced.line(), key: key.value, node });
        }
        Ok(Node { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_line_of_its_key() {
        let text = "version: 1\nmodels:\n  car.loan:\n    features:\n      - a\n    windows:\n\n      size: 1h\n";
        let lines =
            ["version", "models", "models.car.loan", "models.car.loan.windows.size", "models.car.loan.features[0]"]
                .map(|path| line_of(text, path));
        assert_eq!(lines, [1, 2, 3, 8, 4]);
    }

    #[test]
    fn a_missing_key_leads_to_its_parent() {
        assert_eq!(line_of("a: 1\nb:\n  c: 2\n", "b.missing"), 2);
        assert_eq!(line_of("{", "b"), 0);
    }
}
