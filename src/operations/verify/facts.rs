//! What is known of one order: its row in the store, and each of its records in the log.

use crate::pipeline::PartitionOffset;

/// A row or a record of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Row(RowFact),
    Record(RecordFact),
}

/// The row of a stored order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowFact {
    pub(super) source: RowSource,
    pub(super) accepted_at_us: Option<i64>,
}

/// Where a row came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowSource {
    /// Another program wrote it.
    Unknown,
    /// The current incarnation of a partition of this topic.
    Here(PartitionOffset),
    /// An earlier incarnation, or another log.
    Elsewhere,
}

/// A record that is an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordFact {
    pub(super) at: PartitionOffset,
    pub(super) accepted_at_us: i64,
    pub(super) excuse: Option<Excuse>,
}

/// Why a record need not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excuse {
    /// Its order was erased after it was accepted.
    Erased,
    /// It is in a recorded gap.
    InGap,
}

/// The length of a fact as bytes.
pub(super) const FACT_BYTES: usize = 1 + 4 + 8 + 8;

impl Fact {
    pub(super) fn encode(&self) -> [u8; FACT_BYTES] {
        const NOWHERE: PartitionOffset = PartitionOffset::new(0, 0);
        let (kind, at, time) = match self {
            Fact::Row(RowFact {
                source,
                accepted_at_us,
            }) => {
                let (kind, at) = match source {
                    RowSource::Unknown => (0, NOWHERE),
                    RowSource::Here(at) => (1, *at),
                    RowSource::Elsewhere => (2, NOWHERE),
                };
                (kind, at, accepted_at_us.unwrap_or(i64::MIN))
            }
            Fact::Record(record) => {
                let kind = match record.excuse {
                    None => 3,
                    Some(Excuse::Erased) => 4,
                    Some(Excuse::InGap) => 5,
                };
                (kind, record.at, record.accepted_at_us)
            }
        };
        let mut bytes = [0; FACT_BYTES];
        bytes[0] = kind;
        bytes[1..5].copy_from_slice(&at.partition.to_le_bytes());
        bytes[5..13].copy_from_slice(&at.offset.to_le_bytes());
        bytes[13..].copy_from_slice(&time.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; FACT_BYTES]) -> Fact {
        let [kind, rest @ ..] = bytes;
        let (partition, rest) = rest.split_first_chunk().expect("the lengths add up");
        let (offset, time) = rest.split_first_chunk().expect("the lengths add up");
        let at = PartitionOffset {
            partition: i32::from_le_bytes(*partition),
            offset: i64::from_le_bytes(*offset),
        };
        let time = i64::from_le_bytes(time.try_into().expect("the lengths add up"));
        let row = |source| {
            Fact::Row(RowFact {
                source,
                accepted_at_us: Some(time).filter(|time| *time != i64::MIN),
            })
        };
        let record = |excuse| {
            Fact::Record(RecordFact {
                at,
                accepted_at_us: time,
                excuse,
            })
        };
        match kind {
            0 => row(RowSource::Unknown),
            1 => row(RowSource::Here(at)),
            2 => row(RowSource::Elsewhere),
            3 => record(None),
            4 => record(Some(Excuse::Erased)),
            _ => record(Some(Excuse::InGap)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_read_as_it_is_written() {
        let at = PartitionOffset::new(7, 1 << 40);
        let rows = [
            (RowSource::Unknown, None),
            (RowSource::Here(at), Some(-5)),
            (RowSource::Elsewhere, Some(i64::MAX)),
        ];
        let rows = rows.map(|(source, accepted_at_us)| {
            Fact::Row(RowFact {
                source,
                accepted_at_us,
            })
        });
        let records = [None, Some(Excuse::Erased), Some(Excuse::InGap)].map(|excuse| {
            Fact::Record(RecordFact {
                at,
                accepted_at_us: 9,
                excuse,
            })
        });
        for fact in rows.into_iter().chain(records) {
            assert_eq!(Fact::decode(&fact.encode()), fact);
        }
    }
}
