//! Applies a record of the log again to PostgreSQL.

use super::super::PostgresStore;
use super::super::transaction::PostgresTransaction;
use super::SQL;
use crate::store::StoreError;
use crate::store::apply::WriteConnection;
use crate::store::operator::Change;
use crate::store::operator::dead_letters::Mode;
use crate::store::operator::reapply::{
    DecodedRecord, LockedPosition, Reapplied, Reapply, ReapplyTransaction, reapply,
};

impl Reapply for PostgresStore {
    fn reapply(
        &mut self,
        record: &DecodedRecord<'_>,
        change: &Change<'_>,
        mode: Mode,
    ) -> Result<Reapplied, StoreError> {
        reapply(self.begin()?, record, change, mode)
    }
}

impl ReapplyTransaction for PostgresTransaction<'_> {
    fn lock_position(
        &mut self,
        record: &DecodedRecord<'_>,
        change: &Change<'_>,
    ) -> Result<Option<LockedPosition>, StoreError> {
        let row = self.transaction.query_opt(
            &SQL.lock_position,
            &[
                &record.log_id,
                &record.at.partition,
                &record.topic_id.as_str(),
                &change.by,
                &change.why,
            ],
        )?;
        Ok(row.map(|row| LockedPosition {
            id: row.get(0),
            epoch: row.get(1),
            next_offset: row.get(2),
        }))
    }
}
