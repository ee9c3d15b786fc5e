//! A record of the log, and when its order was accepted.

use bytes::Bytes;

use super::PartitionOffset;

/// The header that carries when the API accepted an order: decimal microseconds since the epoch.
pub const ACCEPTED_AT: &str = "accepted-at";

/// The end of the year 9999, in microseconds since the epoch.
const MAX_TIME_US: i64 = 253_402_300_799_999_999;

/// One record as the log holds it. Payloads are owned: nothing pins the client's fetch buffers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the epoch, as the log stamped it; -1 when it has none.
    pub timestamp_ms: i64,
    pub key: Option<Bytes>,
    /// `None` is a null payload (a tombstone).
    pub value: Option<Bytes>,
    pub headers: Vec<(Box<str>, Bytes)>,
}

impl Record {
    /// Where the record is in its topic.
    pub fn at(&self) -> PartitionOffset {
        PartitionOffset::new(self.partition, self.offset)
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(known, _)| &**known == name)
            .map(|(_, value)| value.as_ref())
    }

    /// The first header of that name, read as a decimal number; `None` when absent or malformed.
    pub fn number_header(&self, name: &str) -> Option<i64> {
        std::str::from_utf8(self.header(name)?).ok()?.parse().ok()
    }

    /// When the order was accepted, in microseconds since the epoch: the header `accepted-at`, or
    /// the record's own timestamp where a foreign producer wrote it.
    ///
    /// A header outside the years 1970 to 9999 counts as absent: it could neither be stored nor ever
    /// be outranked.
    pub fn accepted_at_us(&self) -> i64 {
        self.number_header(ACCEPTED_AT)
            .filter(|accepted_at_us| (0..=MAX_TIME_US).contains(accepted_at_us))
            .unwrap_or(
                self.timestamp_ms
                    .saturating_mul(1_000)
                    .clamp(0, MAX_TIME_US),
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_time_is_the_header_or_the_records_own_timestamp() {
        let accepted_at_us = |headers: &[&'static str]| {
            let header = |value: &&'static str| (ACCEPTED_AT.into(), Bytes::from(*value));
            let record = Record {
                timestamp_ms: 20,
                headers: headers.iter().map(header).collect(),
                ..Record::default()
            };
            record.accepted_at_us()
        };
        assert_eq!(accepted_at_us(&["1234567"]), 1_234_567);
        assert_eq!(accepted_at_us(&[]), 20_000);
        for malformed in ["", "x", "-1", "253402300800000000"] {
            assert_eq!(accepted_at_us(&[malformed]), 20_000, "{malformed}");
        }
    }
}
