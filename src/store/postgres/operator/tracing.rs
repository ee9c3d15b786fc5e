//! What PostgreSQL knows of one order.

use ::postgres::IsolationLevel;

use crate::order::Timestamp;
use crate::pipeline::PartitionOffset;
use crate::store::operator::tracing::{ERASURE, ROW};
use crate::store::postgres::micros::Micros;
use crate::store::postgres::{PostgresStore, positions};
use crate::store::{
    OrderTrace, StoreError, StoreTrace, TracedErasure, TracedLetter, TracedRow, TracedSource,
    uid_digest,
};

/// By uid and by key, each along its index.
const LETTERS: &str = r#"
    SELECT topic, partition, "offset", accepted_at, reason, resolution FROM dead_letters
    WHERE id IN (SELECT id FROM dead_letters WHERE order_uid = $1
                 UNION SELECT id FROM dead_letters
                       WHERE key IS NOT NULL AND sha256(key) = $2)
    ORDER BY id DESC LIMIT 100"#;

impl OrderTrace for PostgresStore {
    fn trace(&mut self, log_id: &str, order_uid: &str) -> Result<StoreTrace, StoreError> {
        let digest = uid_digest(order_uid.as_bytes());
        let digest = digest.as_slice();
        let mut transaction = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()?;
        let positions = transaction.query(positions::SQL.of_log.as_str(), &[&log_id])?;
        let row = transaction.query_opt(ROW, &[&order_uid])?;
        let letters = transaction.query(LETTERS, &[&order_uid, &digest])?;
        let erasure = transaction.query_opt(ERASURE, &[&digest])?;
        transaction.commit()?;
        Ok(StoreTrace {
            positions: positions.iter().map(positions::position).collect(),
            row: row.map(|row| {
                let source = || {
                    let partition = row.get::<_, Option<i32>>(0)?;
                    let is_current = row.get::<_, Option<bool>>(1)?;
                    let topic_id = row.get::<_, Option<&str>>(4)?;
                    Some(TracedSource {
                        at: PartitionOffset::new(partition, row.get::<_, Option<i64>>(2)?),
                        topic_id: is_current.then(|| topic_id.into()),
                    })
                };
                TracedRow {
                    source: source(),
                    accepted_at: timestamp(row.get(3)),
                }
            }),
            dead_letters: letters
                .iter()
                .map(|row| TracedLetter {
                    topic: row.get(0),
                    at: PartitionOffset::new(row.get(1), row.get(2)),
                    accepted_at: timestamp(row.get(3)),
                    reason: row.get(4),
                    resolution: row.get(5),
                })
                .collect(),
            erasure: erasure.map(|row| TracedErasure {
                until: timestamp(row.get(0)),
                erased_at: timestamp(row.get(1)),
            }),
        })
    }
}

fn timestamp(micros: Option<Micros>) -> Timestamp {
    micros.map_or(Timestamp(None), |micros| Timestamp::from_micros(micros.0))
}
