//! Which partition a key belongs to, in every log.

/// Chooses the partition of a key as go-orders' producer does (librdkafka's `fnv1a_random`, which is
/// Sarama's: FNV-1a as a signed number, made positive).
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    let hash = key.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    hash.cast_signed().unsigned_abs() % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_to_the_partition_that_go_orders_chooses() {
        // librdkafka's own test vectors (`unittest_fnv1a`), which come from Sarama.
        let vectors: [(&str, u32); 8] = [
            ("kafka", 0x0d33_c4e1),
            ("giberish123456789", 0x77a5_8295),
            ("1234", 0x023b_dd03),
            ("234", 0x2dea_3cd2),
            ("34", 0x740f_a83e),
            ("4", 0x310c_a263),
            ("PreAmbleWillBeRemoved,ThePrePartThatIs", 0x65cb_d69c),
            ("", 0x7ee3_623b),
        ];
        for (key, hash) in vectors {
            for partitions in [1, 4, 7, 10_000, u32::MAX] {
                let expected = hash % partitions;
                assert_eq!(partition_of(key.as_bytes(), partitions), expected, "{key}");
            }
        }
    }
}
