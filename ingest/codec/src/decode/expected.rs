//! A key that is expected next, as it stands in the bytes of either format.
//!
//! A producer writes every row alike, so one comparison with the bytes ahead tells most keys. It looks at sixteen bytes at
//! once, whatever the key's length: a comparison of so many bytes as the key has would be a call.

/// A key that is expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExpectedKey {
    /// The name in quotes, and a colon.
    pub(super) json: Pattern,
    /// The shortest head that text of its length can have, and the name.
    pub(super) message_pack: Pattern,
}

impl ExpectedKey {
    /// The key of this name; `None` where it holds what JSON escapes, and so has no single form.
    pub(crate) fn new(name: &[u8]) -> Option<Self> {
        if name.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
            return None;
        }
        let json = [b"\"", name, b"\":"].concat();
        let mut message_pack = Vec::new();
        rmp::encode::write_str_len(&mut message_pack, u32::try_from(name.len()).ok()?).ok()?;
        message_pack.extend_from_slice(name);
        Some(Self { json: Pattern::new(json), message_pack: Pattern::new(message_pack) })
    }
}

/// Bytes that are looked for at the start of others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    bytes: Box<[u8]>,
    /// The first sixteen, zeros behind the end of fewer.
    envelope: u128,
    /// Ones where `envelope` has bytes.
    mask: u128,
}

impl Pattern {
    const HEAD_BYTES: usize = size_of::<u128>();

    fn new(bytes: Vec<u8>) -> Self {
        let mut envelope = [0; Self::HEAD_BYTES];
        let mut mask = [0; Self::HEAD_BYTES];
        for ((envelope, mask), byte) in envelope.iter_mut().zip(&mut mask).zip(&bytes) {
            (*envelope, *mask) = (*byte, u8::MAX);
        }
        Self { bytes: bytes.into(), envelope: u128::from_ne_bytes(envelope), mask: u128::from_ne_bytes(mask) }
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether these bytes begin with it.
    #[inline(always)]
    pub(super) fn leads(&self, bytes: &[u8]) -> bool {
        match bytes.first_chunk() {
            Some(chunk) if u128::from_ne_bytes(*chunk) & self.mask != self.envelope => false,
            Some(_) if self.len() <= Self::HEAD_BYTES => true,
            _ => bytes.starts_with(&self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_json_escapes_is_never_expected() {
        for name in ["a\"b", "a\\b", "a\nb", "\0"] {
            assert!(ExpectedKey::new(name.as_bytes()).is_none(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_leads_exactly_what_starts_with_it(
            pattern in prop::collection::vec(0u8..3, 0..20), other in prop::collection::vec(0u8..3, 0..20), own: bool
        ) {
            let bytes = if own { [pattern.clone(), other].concat() } else { other };
            prop_assert_eq!(Pattern::new(pattern.clone()).leads(&bytes), bytes.starts_with(&pattern));
        }
    }
}
