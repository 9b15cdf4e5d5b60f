//! Which partition an id belongs to: Kafka's default partitioner, so that every producer agrees with Driftline.
//!
//! A prediction and its label meet only if both are in the partition of their id. Kafka's Java client, librdkafka's
//! `murmur2` partitioner and this module give the same number for the same bytes.

use crate::log::PartitionId;

/// The partition of an id: `toPositive(murmur2(id)) % partitions`, and 0 where there are none.
pub fn partition_of(id: &str, partitions: u32) -> PartitionId {
    partition_of_bytes(id.as_bytes(), partitions)
}

/// As [`partition_of`], for an id that is held as bytes.
pub fn partition_of_bytes(id: &[u8], partitions: u32) -> PartitionId {
    // Kafka clears the sign bit of a Java int; the absolute value would differ for half of all hashes.
    (murmur2(id) & 0x7fff_ffff).checked_rem(partitions).unwrap_or(0)
}

/// MurmurHash2 in 32 bits with Kafka's seed.
///
/// # Formula
/// Austin Appleby's MurmurHash2 (2008), seed `0x9747b28c`, as in `org.apache.kafka.common.utils.Utils#murmur2`.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // Java's array length is a 32-bit int; longer data cannot occur there, so the truncation is never seen.
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_equal_those_of_kafkas_own_tests() {
        // The table of `UtilsTest#testMurmur2`.
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (data, hash) in cases {
            assert_eq!(murmur2(data.as_bytes()) as i32, hash, "{data}");
        }
    }

    #[test]
    fn every_id_has_a_partition_that_exists() {
        for id in 0..1_000 {
            assert!(partition_of(&id.to_string(), 7) < 7);
        }
        assert_eq!(partition_of("21", 10), (-973_932_308_i32 & 0x7fff_ffff) as u32 % 10);
        assert_eq!(partition_of("21", 0), 0);
    }
}
