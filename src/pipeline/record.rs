//! A record of the log, and when its order was accepted.

use bytes::Bytes;

use super::PartitionOffset;

/// The header that carries when the API accepted an order: decimal microseconds since the epoch.
pub const ACCEPTED_AT: &str = "accepted-at";

/// How far an accept time may be ahead of the record's own timestamp, and that one ahead of the
/// broker's clock (`message.timestamp.after.max.ms`): five minutes.
pub const MAX_AHEAD_US: i64 = 5 * 60 * 1_000_000;

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

    /// Whether there is more than one header of that name.
    pub fn repeats_header(&self, name: &str) -> bool {
        let named = self.headers.iter().filter(|(known, _)| &**known == name);
        named.count() > 1
    }

    /// The first header of that name, read as a decimal number; `None` when absent or malformed.
    pub fn number_header(&self, name: &str) -> Option<i64> {
        std::str::from_utf8(self.header(name)?).ok()?.parse().ok()
    }

    /// When the order was accepted, in microseconds since the epoch: the header `accepted-at`, or
    /// the record's own timestamp where a foreign producer wrote it. What decides between versions in
    /// different partitions.
    ///
    /// The header counts only up to [`MAX_AHEAD_US`] after the timestamp, which the broker bounds: a
    /// forged one cannot outrank newer orders for ever. The clock is not asked, so that the same record
    /// counts the same on every replay.
    ///
    /// A header outside the years 1970 to 9999 counts as absent: it could not be stored.
    pub fn accepted_at_us(&self) -> i64 {
        let timestamp_us = self
            .timestamp_ms
            .saturating_mul(1_000)
            .clamp(0, MAX_TIME_US);
        let latest_us = timestamp_us.saturating_add(MAX_AHEAD_US).min(MAX_TIME_US);
        self.number_header(ACCEPTED_AT)
            .filter(|accepted_at_us| (0..=MAX_TIME_US).contains(accepted_at_us))
            .map_or(timestamp_us, |accepted_at_us| accepted_at_us.min(latest_us))
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

    #[test]
    fn an_accept_time_counts_only_up_to_five_minutes_after_the_records_timestamp() {
        let accepted_at_us = |timestamp_ms, header: i64| {
            let record = Record {
                timestamp_ms,
                headers: vec![(ACCEPTED_AT.into(), header.to_string().into())],
                ..Record::default()
            };
            record.accepted_at_us()
        };
        let (timestamp_ms, latest_us) = (1_000_000, 1_300_000_000);
        assert_eq!(accepted_at_us(timestamp_ms, 7), 7);
        assert_eq!(accepted_at_us(timestamp_ms, latest_us), latest_us);
        assert_eq!(accepted_at_us(timestamp_ms, latest_us + 1), latest_us);
        assert_eq!(accepted_at_us(timestamp_ms, MAX_TIME_US), latest_us);
        // A record that its producer gave no timestamp is not newer than any other.
        assert_eq!(accepted_at_us(-1, MAX_TIME_US), MAX_AHEAD_US);
        assert_eq!(accepted_at_us(i64::MAX, MAX_TIME_US), MAX_TIME_US);
    }
}
