//! The tables of a topic file, and records as rows.
//!
//! A record is one row, its id made of partition and offset, so that a partition is one range of the
//! table and reading on is a search for one number.
//!
//! # Invariants
//!
//! - The counters (`partitions`) move in the transaction that adds the records: offsets have no holes
//!   and are never used again.
//! - Each record has a checksum of its own. SQLite notices a damaged page only where its structure
//!   suffers, and a damaged order must not be stored.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusqlite::{Connection, Error as SqlError, OptionalExtension, Result as SqlResult};

use crate::event_log::OffsetRange;
use crate::pipeline::Record;
use crate::pipeline::TopicId;
use crate::sqlite_file::{FileError, OpenFile};

/// Offsets take the lower 48 bits of a record's id, partitions the upper 15.
const OFFSET_BITS: u32 = 48;
pub(super) const MAX_PARTITIONS: i32 = 0x7fff;

/// The number of this layout, as `PRAGMA user_version`.
pub(super) const LAYOUT: i64 = 1;

/// The view is for operators: `sqlite3 orders.db 'SELECT * FROM log LIMIT 10'`.
pub(super) const SCHEMA: &str = "
CREATE TABLE topic (
    topic_id TEXT NOT NULL,
    settings TEXT NOT NULL,
    holds_durable INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE partitions (
    partition INTEGER PRIMARY KEY,
    low INTEGER NOT NULL DEFAULT 0,
    next_offset INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    timestamp_ms INTEGER NOT NULL,
    key BLOB,
    value BLOB,
    headers BLOB,
    sum INTEGER NOT NULL
);
CREATE VIEW log AS SELECT
    id >> 48 AS partition,
    id & 281474976710655 AS \"offset\",
    strftime('%Y-%m-%dT%H:%M:%fZ', timestamp_ms / 1000.0, 'unixepoch') AS time,
    CAST(key AS TEXT) AS key,
    CAST(value AS TEXT) AS value
FROM records;
PRAGMA user_version = 1;
";

/// Identity and settings of a topic.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) topic_id: TopicId,
    pub(super) settings: BTreeMap<String, String>,
    /// A durable record was appended once: nothing is deleted that no consumer has stored.
    pub(super) holds_durable: bool,
}

impl Head {
    /// A setting as a number; `None` where there is none, or where it means "without limit" (-1).
    pub(super) fn limit(&self, name: &str) -> Option<i64> {
        let number: i64 = self.settings.get(name)?.parse().ok()?;
        (number >= 0).then_some(number)
    }
}

/// One partition's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) low: i64,
    pub(super) next: i64,
    /// Of all records between them.
    pub(super) bytes: i64,
}

impl Counters {
    pub(super) fn range(&self) -> OffsetRange {
        OffsetRange {
            low: self.low,
            high: self.next,
        }
    }

    fn of(row: &rusqlite::Row<'_>) -> SqlResult<Counters> {
        let (low, next, bytes) = row.try_into()?;
        Ok(Counters { low, next, bytes })
    }
}

pub(super) fn id(partition: i32, offset: i64) -> i64 {
    (i64::from(partition) << OFFSET_BITS) | offset
}

/// Read first in every snapshot: everything else belongs to this topic id.
pub(super) fn topic_id(connection: &Connection) -> SqlResult<TopicId> {
    let mut statement = connection.prepare_cached("SELECT topic_id FROM topic")?;
    statement.query_row([], |row| Ok(row.get_ref(0)?.as_str()?.into()))
}

pub(super) fn head(connection: &Connection) -> SqlResult<Head> {
    let mut statement =
        connection.prepare_cached("SELECT topic_id, settings, holds_durable FROM topic")?;
    statement.query_row([], |row| {
        let settings = serde_json::from_str(row.get_ref(1)?.as_str()?);
        Ok(Head {
            topic_id: row.get_ref(0)?.as_str()?.into(),
            settings: settings.map_err(|error| SqlError::ToSqlConversionFailure(error.into()))?,
            holds_durable: row.get(2)?,
        })
    })
}

/// The counters of all partitions; `[p]` belongs to partition `p`.
pub(super) fn counters(connection: &Connection) -> SqlResult<Vec<Counters>> {
    let mut statement = connection
        .prepare_cached("SELECT low, next_offset, bytes FROM partitions ORDER BY partition")?;
    statement.query_map([], Counters::of)?.collect()
}

/// The counters of one partition; `None` where there is no such partition.
pub(super) fn counters_of(connection: &Connection, partition: i32) -> SqlResult<Option<Counters>> {
    let mut statement = connection
        .prepare_cached("SELECT low, next_offset, bytes FROM partitions WHERE partition = ?1")?;
    statement.query_row([partition], Counters::of).optional()
}

/// For each partition, the offset of its first record at or after a time, or its next offset. Reads
/// every record before it: a clock that was set back leaves no order to search in.
pub(super) fn offsets_since(connection: &Connection, since_ms: i64) -> SqlResult<Vec<i64>> {
    let mut first = connection.prepare_cached(
        "SELECT id FROM records WHERE id >= ?1 AND id < ?2 AND timestamp_ms >= ?3
         ORDER BY id LIMIT 1",
    )?;
    let mut offsets = Vec::new();
    for (partition, counters) in (0..).zip(counters(connection)?) {
        let range = [counters.low, counters.next].map(|offset| id(partition, offset));
        let found = first.query_row((range[0], range[1], since_ms), |row| row.get::<_, i64>(0));
        let found = found.optional()?;
        offsets.push(found.map_or(counters.next, |found| found - id(partition, 0)));
    }
    Ok(offsets)
}

/// A record as a row of the table.
pub(super) struct Row<'a> {
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    headers: &'a [u8],
}

impl Row<'_> {
    fn size(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)
    }

    /// Copies the record, so that nothing pins a page; `None` where its headers are malformed.
    pub(super) fn record(&self, partition: i32) -> Option<Record> {
        Some(Record {
            partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.map(Bytes::copy_from_slice),
            value: self.value.map(Bytes::copy_from_slice),
            headers: decode_headers(self.headers)?,
        })
    }
}

/// Calls `each` for the records of a partition from `from` up to `to`, or until they have `max_bytes`.
/// A record that is missing, or not what was written, is damage, and so is one that `each` cannot
/// decode: between low and next there are no holes.
pub(super) fn records(
    open: &OpenFile,
    partition: i32,
    (from, to): (i64, i64),
    max_bytes: usize,
    mut each: impl FnMut(&Row<'_>) -> Option<()>,
) -> Result<(), FileError> {
    let failed = |error: SqlError| open.error(&error);
    let damaged = |offset: i64, how: &str| {
        let what = format!("the record at {partition}/{offset} {how}");
        open.damaged(what)
    };
    let mut statement = open
        .connection
        .prepare_cached(
            "SELECT id, timestamp_ms, key, value, headers, sum FROM records
             WHERE id >= ?1 AND id < ?2 ORDER BY id",
        )
        .map_err(failed)?;
    let mut rows = statement
        .query([id(partition, from), id(partition, to)])
        .map_err(failed)?;
    let (mut offset, mut bytes) = (from, 0);
    while let Some(row) = rows.next().map_err(failed)? {
        let read = || -> SqlResult<(i64, i64, Row<'_>)> {
            let found = Row {
                offset,
                timestamp_ms: row.get(1)?,
                key: row.get_ref(2)?.as_blob_or_null()?,
                value: row.get_ref(3)?.as_blob_or_null()?,
                headers: row.get_ref(4)?.as_blob_or_null()?.unwrap_or_default(),
            };
            Ok((row.get(0)?, row.get(5)?, found))
        };
        let (found_id, found_sum, found) =
            read().map_err(|_| damaged(offset, "is not what was written"))?;
        if found_id != id(partition, offset) {
            return Err(damaged(offset, "is not there"));
        }
        let values = [found.key, found.value, Some(found.headers)];
        if found_sum != sum(found_id, found.timestamp_ms, values) {
            return Err(damaged(offset, "is not what was written"));
        }
        each(&found).ok_or_else(|| damaged(offset, "has headers that cannot be read"))?;
        bytes += found.size();
        if bytes >= max_bytes {
            return Ok(());
        }
        offset += 1;
    }
    if offset < to {
        return Err(damaged(offset, "is not there"));
    }
    Ok(())
}

/// The checksum of a whole record. Each step is one-to-one, so damage within any eight bytes is
/// always detected, and other damage nearly always.
pub(super) fn sum(id: i64, timestamp_ms: i64, values: [Option<&[u8]>; 3]) -> i64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |word: u64| {
        sum = (sum ^ word).wrapping_mul(PRIME);
        sum ^= sum >> 32;
    };
    mix(id.cast_unsigned());
    mix(timestamp_ms.cast_unsigned());
    for value in values {
        mix(value.map_or(u64::MAX, |value| value.len() as u64));
        let (words, rest) = value.unwrap_or_default().as_chunks::<8>();
        for word in words {
            mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        mix(u64::from_le_bytes(last));
    }
    sum.cast_signed()
}

/// Encodes headers in one value: name and content of each in turn, each after its length.
pub(super) fn encode_headers(headers: &[(&str, &[u8])]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (name, content) in headers {
        for part in [name.as_bytes(), content] {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            encoded.extend_from_slice(&length.to_le_bytes());
            encoded.extend_from_slice(part);
        }
    }
    encoded
}

fn decode_headers(mut encoded: &[u8]) -> Option<Vec<(Box<str>, Bytes)>> {
    let mut part = || -> Option<Option<&[u8]>> {
        let Some((length, rest)) = encoded.split_first_chunk() else {
            return encoded.is_empty().then_some(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (part, rest) = rest.split_at_checked(length)?;
        encoded = rest;
        Some(Some(part))
    };
    let mut headers = Vec::new();
    while let Some(name) = part()? {
        let content = part()??;
        let name = std::str::from_utf8(name).ok()?;
        headers.push((name.into(), Bytes::copy_from_slice(content)));
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_back_and_truncated_ones_are_not() {
        let headers: [(&str, &[u8]); 3] = [("a", b"\x00\xff"), ("", b""), ("a", b"again")];
        let whole = encode_headers(&headers);
        let expected: Vec<(Box<str>, Bytes)> = headers
            .iter()
            .map(|(name, content)| ((*name).into(), Bytes::copy_from_slice(content)))
            .collect();
        assert_eq!(decode_headers(&whole), Some(expected));
        assert_eq!(decode_headers(b""), Some(Vec::new()));
        for end in 1..whole.len() {
            let cut = decode_headers(&whole[..end]);
            assert!(cut.is_none_or(|headers| headers.len() < 3), "{end}");
        }
    }

    #[test]
    fn every_bit_counts_in_the_checksum_of_a_record() {
        let value = b"{\"order_uid\":\"b563feb7b2b84b6test\"}".to_vec();
        let of = |value: &[u8]| sum(7, 8, [Some(b"key"), Some(value), None]);
        for bit in 0..value.len() * 8 {
            let mut other = value.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(&other), of(&value), "bit {bit}");
        }
        let none = sum(7, 8, [Some(b"key"), None, Some(&value)]);
        assert_ne!(none, sum(7, 8, [Some(b"key"), Some(&value), None]));
    }
}
