//! What may be stored of each column.
//!
//! A policy is applied before anything leaves the decoder: a dropped value is never built, a hashed one is built as its hash.
//! A value that is `profile_only` lives in memory until the profiles are filled, a category as its hash, so that it is in no
//! reference and no verdict; [`Privacy::redact`] takes it out of whatever is archived or trained on. Dead letters of a model with any such column hold no payload at all, because the bytes of a bad row
//! cannot be trusted to say which part of them is which column.

use crate::columns::SEGMENT_PREFIX;
use arrow::array::{RecordBatch, new_null_array};
use arrow::error::ArrowError;
use detectors::schema::{ColumnKind, ModelSchema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// What may be stored of a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Its values.
    #[default]
    Keep,
    /// A keyed hash of each value; categories only.
    Hash,
    /// Its profile, and no value.
    ProfileOnly,
    /// Nothing, not even its profile.
    Drop,
}

/// Why privacy settings were refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PrivacyError {
    /// A policy for a column that the model does not have.
    #[error("privacy of `{column}`: the model has no such column; name a feature, an output or `segment.<dimension>`")]
    UnknownColumn {
        /// The name given.
        column: String,
    },
    /// A number to be hashed.
    #[error("privacy of `{column}`: a number cannot be hashed and still be profiled; use profile_only or drop")]
    NumericHash {
        /// The column.
        column: String,
    },
    /// A hash without a key.
    #[error(
        "privacy of `{column}`: hashing needs a key, and so does profiling categories by their hashes; configure a hash key file"
    )]
    NoKey {
        /// The column.
        column: String,
    },
}

/// The key of the hashes. It is never shown.
#[derive(Clone)]
pub struct HashKey {
    /// The hash function after the inner pad.
    inner: Sha256,
    /// The hash function after the outer pad.
    outer: Sha256,
}

impl HashKey {
    /// Hex digits of a hashed value.
    pub const DIGITS: usize = 16;
    /// The block of SHA-256, which a key is padded to.
    const BLOCK: usize = 64;

    /// A key from its bytes; any length will do, 32 random ones are best.
    pub fn new(key: &[u8]) -> Self {
        let digest = Sha256::digest(key);
        let key = if key.len() > Self::BLOCK { &digest[..] } else { key };
        let pad = |mask: u8| {
            let mut block = [mask; Self::BLOCK];
            block.iter_mut().zip(key).for_each(|(pad, byte)| *pad ^= byte);
            Sha256::new_with_prefix(block)
        };
        Self { inner: pad(0x36), outer: pad(0x5c) }
    }

    /// The first 64 bits of the value's HMAC-SHA-256 in hex.
    ///
    /// # Formula
    /// RFC 2104, truncated as its section 5 allows: 16 digits keep a million categories apart but for 1 chance in 10⁷.
    pub fn hash(&self, value: &[u8]) -> [u8; Self::DIGITS] {
        let inner = self.inner.clone().chain_update(value).finalize();
        let mac = self.outer.clone().chain_update(inner).finalize();
        let mut digits = [b'0'; Self::DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(mac.iter()) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            }
        }
        digits
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(hidden)")
    }
}

/// The checked policies of one model's columns.
#[derive(Debug, Clone, Default)]
pub struct Privacy {
    policies: BTreeMap<String, Policy>,
    key: Option<HashKey>,
}

impl Privacy {
    /// Checks policies, by column name, against a schema and the segments that events carry.
    ///
    /// # Errors
    /// When a column does not exist, a number is to be hashed, or there is no key to hash with.
    pub fn new(
        policies: BTreeMap<String, Policy>,
        key: Option<HashKey>,
        schema: &ModelSchema,
        segments: &[String],
    ) -> Result<Self, PrivacyError> {
        for (name, policy) in &policies {
            let column = name.clone();
            let found = schema.columns.iter().find(|known| known.name == *name).map(|known| known.kind);
            let segment = name.strip_prefix(SEGMENT_PREFIX).filter(|dimension| segments.iter().any(|s| s == dimension));
            match (found.or(segment.map(|_| ColumnKind::Categorical)), policy) {
                (None, _) => return Err(PrivacyError::UnknownColumn { column }),
                (Some(ColumnKind::Numeric), Policy::Hash) => return Err(PrivacyError::NumericHash { column }),
                (Some(kind), policy) if Self::needs_key(kind, *policy) && key.is_none() => {
                    return Err(PrivacyError::NoKey { column });
                }
                _ => {}
            }
        }
        Ok(Self { policies, key })
    }

    /// Whether a column of this kind needs a key with this policy: what is profiled of a category is known by its hash.
    pub fn needs_key(kind: ColumnKind, policy: Policy) -> bool {
        policy == Policy::Hash || (policy == Policy::ProfileOnly && kind == ColumnKind::Categorical)
    }

    /// The policy of a column.
    pub fn of(&self, column: &str) -> Policy {
        self.policies.get(column).copied().unwrap_or_default()
    }

    /// Whether there is a column that may not be stored as it comes.
    pub fn is_restrictive(&self) -> bool {
        self.policies.values().any(|policy| *policy != Policy::Keep)
    }

    /// The batch as it may be archived: without the values of columns that are profiled only.
    ///
    /// # Errors
    /// When arrow refuses the batch; it does not if the batch was decoded with this model's schema.
    pub fn redact(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| match self.of(field.name()) {
            Policy::ProfileOnly => new_null_array(field.data_type(), batch.num_rows()),
            _ => column.clone(),
        });
        let columns = columns.collect();
        RecordBatch::try_new(schema, columns)
    }

    /// The hash of a value in hex; `None` where there is no key.
    pub fn hash(&self, value: &[u8]) -> Option<String> {
        Some(String::from_utf8_lossy(&self.key.as_ref()?.hash(value)).into_owned())
    }

    pub(super) fn key(&self) -> Option<&HashKey> {
        self.key.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use detectors::schema::Task;

    fn schema() -> ModelSchema {
        let features = [("age".to_owned(), ColumnKind::Numeric), ("town".to_owned(), ColumnKind::Categorical)];
        ModelSchema::new(features, Task::Regression)
    }

    fn refused(column: &str, policy: Policy, key: Option<HashKey>) -> PrivacyError {
        Privacy::new([(column.to_owned(), policy)].into(), key, &schema(), &[]).unwrap_err()
    }

    #[test]
    fn a_hash_is_the_hmac_of_rfc_4231() {
        let hex = |key: &[u8], data: &[u8]| String::from_utf8(HashKey::new(key).hash(data).to_vec()).unwrap();
        assert_eq!(hex(&[0x0b; 20], b"Hi There"), "b0344c61d8db3853");
        assert_eq!(hex(b"Jefe", b"what do ya want for nothing?"), "5bdcc146bf60754e");
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(hex(&[0xaa; 131], long), "60e431591ee0b67f");
    }

    #[test]
    fn settings_that_cannot_be_kept_are_refused() {
        let key = || Some(HashKey::new(b"k"));
        assert!(matches!(refused("age", Policy::Hash, key()), PrivacyError::NumericHash { .. }));
        assert!(matches!(refused("town", Policy::Hash, None), PrivacyError::NoKey { .. }));
        assert!(matches!(refused("twon", Policy::Drop, None), PrivacyError::UnknownColumn { .. }));
        assert!(matches!(refused("segment.site", Policy::Drop, None), PrivacyError::UnknownColumn { .. }));
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", HashKey::new(b"secret")), "HashKey(hidden)");
    }
}
