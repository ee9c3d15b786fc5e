//! What a SQLite file knows of one order.

use rusqlite::{Connection, Error as SqliteError, OptionalExtension};

use crate::pipeline::PartitionOffset;
use crate::store::operator::tracing::{ERASURE, ROW};
use crate::store::sqlite::lookup::timestamp;
use crate::store::sqlite::{SqliteStore, positions};
use crate::store::{
    OrderTrace, StoreError, StoreTrace, TracedErasure, TracedLetter, TracedRow, TracedSource,
    uid_digest,
};

/// By uid and by key, each along its index.
const LETTERS: &str = r#"
    SELECT topic, partition, "offset", accepted_at, reason, resolution FROM dead_letters
    WHERE id IN (SELECT id FROM dead_letters WHERE order_uid = ?1
                 UNION SELECT id FROM dead_letters WHERE key = ?2)
    ORDER BY id DESC LIMIT 100"#;

impl OrderTrace for SqliteStore {
    fn trace(&mut self, log_id: &str, order_uid: &str) -> Result<StoreTrace, StoreError> {
        self.reading(|transaction| trace(transaction, log_id, order_uid))
    }
}

fn trace(
    connection: &Connection,
    log_id: &str,
    order_uid: &str,
) -> Result<StoreTrace, SqliteError> {
    let row = connection.query_row(ROW, [order_uid], |row| {
        let columns: (Option<i32>, Option<bool>, Option<i64>) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let topic_id = row.get_ref(4)?.as_str_or_null()?;
        let source = match (columns, topic_id) {
            ((Some(partition), Some(is_current), Some(offset)), Some(topic_id)) => {
                Some(TracedSource {
                    at: PartitionOffset::new(partition, offset),
                    topic_id: is_current.then(|| topic_id.into()),
                })
            }
            _ => None,
        };
        Ok(TracedRow {
            source,
            accepted_at: timestamp(row, 3)?,
        })
    });
    let mut letters = connection.prepare(LETTERS)?;
    let letters = letters.query_map((order_uid, order_uid.as_bytes()), |row| {
        Ok(TracedLetter {
            topic: row.get(0)?,
            at: PartitionOffset::new(row.get(1)?, row.get(2)?),
            accepted_at: timestamp(row, 3)?,
            reason: row.get(4)?,
            resolution: row.get(5)?,
        })
    })?;
    let digest = uid_digest(order_uid.as_bytes());
    let erasure = connection.query_row(ERASURE, [digest], |row| {
        Ok(TracedErasure {
            until: timestamp(row, 0)?,
            erased_at: timestamp(row, 1)?,
        })
    });
    Ok(StoreTrace {
        positions: positions::of_log(connection, log_id)?,
        row: row.optional()?,
        dead_letters: letters.collect::<Result<_, _>>()?,
        erasure: erasure.optional()?,
    })
}
