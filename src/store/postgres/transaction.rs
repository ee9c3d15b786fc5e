//! A write transaction on PostgreSQL: the steps that `store::apply` puts in order.
//!
//! Most uids are new, so `insert_new` first selects those that are known and inserts the others by
//! INSERT or COPY, which is faster than an upsert of all.

use std::collections::{HashMap, HashSet};

use ::postgres::Transaction;
use ::postgres::error::SqlState;
use ::postgres::types::ToSql;

use super::statements::Statements;
use super::{PostgresStore, dead_letters, erasures, gaps, positions};
use crate::store::apply::{
    Advanced, InsertError, Inserted, OwnedPosition, WriteConnection, WriteTransaction,
};
use crate::store::{
    Batch, Claim, DeadLetter, Erasure, Gap, Outranked, Position, SourcedOrder, StartDecision,
    StoreError, UidDigest,
};

const OUTRANKED: &str = "
    SELECT o.order_uid, p.log_id, p.partition, o.source_offset
    FROM orders o JOIN log_positions p ON p.id = o.source_position
    WHERE o.order_uid = ANY($1) AND o.source_position <> $2";

const KNOWN: &str = "SELECT order_uid FROM orders WHERE order_uid = ANY($1)";

const DELETE_PARTS: &str = "
    WITH d AS (DELETE FROM delivery WHERE order_uid = ANY($1)),
         p AS (DELETE FROM payment WHERE order_uid = ANY($1))
    DELETE FROM items WHERE order_uid = ANY($1)";

impl WriteConnection for PostgresStore {
    type Transaction<'c> = PostgresTransaction<'c>;

    fn begin(&mut self) -> Result<PostgresTransaction<'_>, StoreError> {
        Ok(PostgresTransaction {
            transaction: self.client.transaction()?,
            statements: &mut self.statements,
            takes_copy: &mut self.takes_copy,
        })
    }
}

pub(super) struct PostgresTransaction<'c> {
    pub transaction: Transaction<'c>,
    pub statements: &'c mut Statements,
    /// Whether the tables take COPY, where that is known.
    pub takes_copy: &'c mut Option<bool>,
}

impl PostgresTransaction<'_> {
    fn known_uids(&mut self, orders: &[&SourcedOrder]) -> Result<HashSet<String>, StoreError> {
        let uids = uids(orders);
        let rows = self
            .statements
            .query(&mut self.transaction, KNOWN, &[&uids])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

impl WriteTransaction for PostgresTransaction<'_> {
    fn advance(&mut self, batch: &Batch) -> Result<Option<Advanced>, StoreError> {
        let moved = positions::advance(&mut self.transaction, self.statements, batch);
        Ok(moved?)
    }

    fn find_erasures(&mut self, digests: &[UidDigest]) -> Result<Vec<Erasure>, StoreError> {
        let client = &mut self.transaction;
        Ok(erasures::find(client, self.statements, digests)?)
    }

    fn find_position_by_id(&mut self, id: i64) -> Result<Option<OwnedPosition>, StoreError> {
        Ok(positions::find_by_id(&mut self.transaction, id)?)
    }

    fn find_position(&mut self, claim: &Claim) -> Result<Option<OwnedPosition>, StoreError> {
        let (log_id, partition) = (&claim.log_id, claim.partition);
        Ok(positions::find(&mut self.transaction, log_id, partition)?)
    }

    fn insert_new<'b>(
        &mut self,
        batch: &Batch,
        orders: &[&'b SourcedOrder],
    ) -> Result<Inserted<'b>, InsertError> {
        let uids = self.known_uids(orders)?;
        let (known, new): (Vec<&SourcedOrder>, Vec<&SourcedOrder>) = orders
            .iter()
            .partition(|sourced| uids.contains(&sourced.order.order_uid));
        match self.insert_orders(batch, &new) {
            Ok(()) => Ok(Inserted { new, known }),
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                Err(InsertError::UniqueViolation)
            }
            Err(error) => Err(InsertError::Store(error.into())),
        }
    }

    fn upsert<'b>(
        &mut self,
        batch: &Batch,
        orders: &[&'b SourcedOrder],
    ) -> Result<Vec<&'b SourcedOrder>, StoreError> {
        let written = self.upsert_orders(batch, orders)?;
        let is_written = |sourced: &&&SourcedOrder| written.contains(&sourced.order.order_uid);
        Ok(orders.iter().filter(is_written).copied().collect())
    }

    fn find_outranked(
        &mut self,
        batch: &Batch,
        outdated: &[&SourcedOrder],
    ) -> Result<Vec<Outranked>, StoreError> {
        let parameters: [&(dyn ToSql + Sync); 2] = [&uids(outdated), &batch.position_id];
        let rows = self
            .statements
            .query(&mut self.transaction, OUTRANKED, &parameters)?;
        let offsets: HashMap<&str, i64> = outdated
            .iter()
            .map(|sourced| (&*sourced.order.order_uid, sourced.offset))
            .collect();
        let outranked = rows.iter().filter_map(|row| {
            let offset = offsets.get(row.get::<_, &str>(0))?;
            Some(Outranked::by(*offset, row.get(1), row.get(2), row.get(3)))
        });
        Ok(outranked.collect())
    }

    fn delete_parts(&mut self, orders: &[&SourcedOrder]) -> Result<(), StoreError> {
        self.statements
            .execute(&mut self.transaction, DELETE_PARTS, &[&uids(orders)])?;
        Ok(())
    }

    fn insert_parts(&mut self, orders: &[&SourcedOrder]) -> Result<(), StoreError> {
        Ok(self.insert_order_parts(orders)?)
    }

    fn insert_dead_letters(
        &mut self,
        batch: &Batch,
        letters: &[DeadLetter],
    ) -> Result<(), StoreError> {
        let client = &mut self.transaction;
        let inserted = dead_letters::insert(client, self.statements, batch, letters);
        Ok(inserted?)
    }

    fn insert_gaps(&mut self, batch: &Batch) -> Result<(), StoreError> {
        Ok(gaps::insert(&mut self.transaction, batch)?)
    }

    fn execute(&mut self, sql: &'static str) -> Result<(), StoreError> {
        Ok(self.transaction.batch_execute(sql)?)
    }

    fn upsert_position(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Option<Position>, StoreError> {
        Ok(positions::upsert(&mut self.transaction, claim, decision)?)
    }

    fn insert_gap_once(&mut self, position: &Position, gap: &Gap) -> Result<(), StoreError> {
        Ok(gaps::insert_once(&mut self.transaction, position, gap)?)
    }

    fn check(&mut self) -> Result<(), StoreError> {
        self.transaction.simple_query("SELECT 1")?;
        Ok(())
    }

    fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit()?)
    }
}

fn uids<'o>(orders: &[&'o SourcedOrder]) -> Vec<&'o str> {
    orders
        .iter()
        .map(|sourced| sourced.order.order_uid.as_str())
        .collect()
}
