//! Erases orders from PostgreSQL.

use super::timestamp;
use crate::order::Timestamp;
use crate::store::operator::erasures::{ErasedOrder, Erasures};
use crate::store::postgres::PostgresStore;
use crate::store::postgres::erasures;
use crate::store::{Change, StoreError, uid_digest};

/// In the order of their ids, so that two transactions that lock all do not wait for each other.
pub(super) const LOCK_POSITIONS: &str = "SELECT FROM log_positions ORDER BY id FOR UPDATE";

const MARK_POSITIONS: &str = "UPDATE log_positions SET has_erasures = true WHERE NOT has_erasures";

const DEAD_LETTERS: &str = "
    UPDATE dead_letters
    SET key = NULL, payload = NULL, payload_sha256 = NULL, order_uid = NULL, reason = 'erased',
        resolution = 'erased', resolved_at = now(), resolved_by = $3, resolved_why = $4
    WHERE order_uid = $1 OR (key IS NOT NULL AND sha256(key) = $2)
    RETURNING accepted_at";

const ORDER: &str = "DELETE FROM orders WHERE order_uid = $1 RETURNING accepted_at";

/// go-orders' own tables may lack the cascade.
const PARTS: &str = "
    WITH d AS (DELETE FROM delivery WHERE order_uid = $1),
         p AS (DELETE FROM payment WHERE order_uid = $1)
    DELETE FROM items WHERE order_uid = $1";

/// No clock of an API that accepted what was found is ahead of the marker.
const MARK: &str = "
    INSERT INTO erasures (uid_sha256, erased_until, erased_by, why)
    VALUES ($1, GREATEST(clock_timestamp(), $2), $3, $4)
    ON CONFLICT (uid_sha256) DO UPDATE
    SET erased_until = GREATEST(erasures.erased_until, EXCLUDED.erased_until),
        erased_at = now(), erased_by = EXCLUDED.erased_by, why = EXCLUDED.why
    RETURNING erased_until";

impl Erasures for PostgresStore {
    fn erase(&mut self, order_uid: &str, change: &Change<'_>) -> Result<ErasedOrder, StoreError> {
        let digest = uid_digest(order_uid.as_bytes());
        let digest = digest.as_slice();
        let mut transaction = self.client.transaction()?;
        transaction.batch_execute(LOCK_POSITIONS)?;
        transaction.batch_execute(MARK_POSITIONS)?;
        // Before the order, as a dead letter that is retried is locked before it.
        let letters = transaction.query(
            DEAD_LETTERS,
            &[&order_uid, &digest, &change.by, &change.why],
        )?;
        transaction.execute(PARTS, &[&order_uid])?;
        let order = transaction.query_opt(ORDER, &[&order_uid])?;
        let found = letters.iter().chain(&order);
        let latest = found.filter_map(|row| timestamp(row, 0).0).max();
        let latest = latest.map(super::Micros);
        let row = transaction.query_one(MARK, &[&digest, &latest, &change.by, &change.why])?;
        let erased = ErasedOrder {
            was_stored: order.is_some(),
            dead_letters: letters.len() as u64,
            erased_until: timestamp(&row, 0),
        };
        transaction.simple_query("SELECT 1")?;
        transaction.commit()?;
        Ok(erased)
    }

    fn erased_until(&mut self, order_uid: &str) -> Result<Option<Timestamp>, StoreError> {
        let digests = [uid_digest(order_uid.as_bytes())];
        let found = erasures::find(&mut self.client, &mut self.statements, &digests)?;
        let until =
            |erasure: &crate::store::Erasure| Timestamp::from_micros(erasure.erased_until_us);
        Ok(found.first().map(until))
    }
}
