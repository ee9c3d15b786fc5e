//! Applies a record of the log again to a SQLite file.

use rusqlite::{OptionalExtension, params};

use super::super::SqliteStore;
use super::super::transaction::SqliteTransaction;
use super::SQL;
use crate::store::StoreError;
use crate::store::apply::WriteConnection;
use crate::store::operator::Change;
use crate::store::operator::dead_letters::Mode;
use crate::store::operator::reapply::{
    DecodedRecord, LockedPosition, Reapplied, Reapply, ReapplyTransaction, reapply,
};

impl Reapply for SqliteStore {
    fn reapply(
        &mut self,
        record: &DecodedRecord<'_>,
        change: &Change<'_>,
        mode: Mode,
    ) -> Result<Reapplied, StoreError> {
        reapply(self.begin()?, record, change, mode)
    }
}

impl ReapplyTransaction for SqliteTransaction<'_> {
    fn lock_position(
        &mut self,
        record: &DecodedRecord<'_>,
        change: &Change<'_>,
    ) -> Result<Option<LockedPosition>, StoreError> {
        let partition = record.at.partition;
        let topic_id = record.topic_id.as_str();
        self.run(|connection| {
            let parameters = params![record.log_id, partition, topic_id, change.by, change.why];
            let locked = connection.query_row(&SQL.lock_position, parameters, |row| {
                Ok(LockedPosition {
                    id: row.get(0)?,
                    epoch: row.get(1)?,
                    next_offset: row.get(2)?,
                })
            });
            locked.optional()
        })
    }
}
