//! Erases orders from a SQLite file.

use rusqlite::{OptionalExtension, params};

use crate::order::Timestamp;
use crate::pipeline::time::now_us;
use crate::store::apply::{WriteConnection, WriteTransaction};
use crate::store::operator::erasures::{ErasedOrder, Erasures};
use crate::store::sqlite::lookup::timestamp;
use crate::store::sqlite::{SqliteStore, erasures, rows, timestamp_text};
use crate::store::{Change, StoreError, uid_digest};

const MARK_POSITIONS: &str = "UPDATE log_positions SET has_erasures = 1 WHERE has_erasures = 0";

/// Two statements find them by two indexes; one condition with OR would read the whole table.
const DEAD_LETTERS: &str = "
    UPDATE dead_letters
    SET key = NULL, payload = NULL, payload_sha256 = NULL, order_uid = NULL, reason = 'erased',
        resolution = 'erased', resolved_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'),
        resolved_by = ?3, resolved_why = ?4
    WHERE id IN (SELECT id FROM dead_letters WHERE order_uid = ?1
                 UNION SELECT id FROM dead_letters WHERE key = ?2)
    RETURNING accepted_at";

const ORDER: &str = "DELETE FROM orders WHERE order_uid = ?1 RETURNING accepted_at";

/// No clock of an API that accepted what was found is ahead of the marker.
const MARK: &str = "
    INSERT INTO erasures (uid_sha256, erased_until, erased_by, why) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (uid_sha256) DO UPDATE
    SET erased_until = max(erasures.erased_until, excluded.erased_until),
        erased_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'),
        erased_by = excluded.erased_by, why = excluded.why
    RETURNING erased_until";

impl Erasures for SqliteStore {
    fn erase(&mut self, order_uid: &str, change: &Change<'_>) -> Result<ErasedOrder, StoreError> {
        let digest = uid_digest(order_uid.as_bytes());
        let transaction = self.begin()?;
        let erased = transaction.run(|connection| {
            // What is removed is overwritten in the file; the WAL is truncated by its next checkpoint.
            connection.pragma_update(None, "secure_delete", true)?;
            connection.execute(MARK_POSITIONS, [])?;
            let letter = params![order_uid, order_uid.as_bytes(), change.by, change.why];
            let letters: Vec<Timestamp> = connection
                .prepare(DEAD_LETTERS)?
                .query_map(letter, |row| timestamp(row, 0))?
                .collect::<Result<_, _>>()?;
            rows::delete_parts(connection, order_uid)?;
            let order = connection
                .query_row(ORDER, [order_uid], |row| timestamp(row, 0))
                .optional()?;
            let found = letters.iter().chain(&order).filter_map(|time| time.0);
            let until = found.chain([now_us()]).max().unwrap_or_default();
            let mark = params![digest, timestamp_text(until), change.by, change.why];
            let erased_until = connection.query_row(MARK, mark, |row| timestamp(row, 0))?;
            Ok(ErasedOrder {
                was_stored: order.is_some(),
                dead_letters: letters.len() as u64,
                erased_until,
            })
        })?;
        transaction.commit()?;
        Ok(erased)
    }

    fn erased_until(&mut self, order_uid: &str) -> Result<Option<Timestamp>, StoreError> {
        let digests = [uid_digest(order_uid.as_bytes())];
        let found = self.reading(|transaction| erasures::find(transaction, &digests))?;
        let until = found.first().map(|erasure| erasure.erased_until_us);
        Ok(until.map(Timestamp::from_micros))
    }
}
