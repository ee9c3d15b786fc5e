//! An in-memory store, for tests: the tables of a store as a plain value.
//!
//! Owns what every engine guarantees about positions, batches and rejections. It has no connections
//! and no outages: the model of a lane adds them. A contract test makes the same calls on it and on
//! the real engines.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::rejections::{self, Rejected, RejectionWindow};
use super::source::current_source;
use super::{
    Applied, Batch, Claim, DeadLetter, Gap, Holder, LookupResult, Outranked, OwnedPosition,
    Position, SourcedOrder, StartDecision, StoreError, StoredOrder,
};
use crate::order::Order;

/// The rows of one database.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub positions: Vec<Held>,
    pub orders: BTreeMap<String, Row>,
    pub dead_letters: Vec<Dead>,
    /// Gaps with the position id and the epoch of each.
    pub gaps: Vec<(i64, i32, Gap)>,
}

/// A position and its owner.
#[derive(Clone, Debug)]
pub struct Held {
    pub log_id: String,
    pub position: Position,
    pub owner: Uuid,
    pub holder: Holder,
}

/// An order and its source.
#[derive(Clone, Debug)]
pub struct Row {
    pub order: Order,
    pub position_id: i64,
    pub epoch: i32,
    pub offset: i64,
    pub accepted_at_us: i64,
}

/// A dead letter and its location.
#[derive(Clone, Debug)]
pub struct Dead {
    pub position_id: i64,
    pub epoch: i32,
    pub location: String,
    pub letter: DeadLetter,
}

impl Tables {
    fn index(&self, log_id: &str, partition: i32) -> Option<usize> {
        self.positions
            .iter()
            .position(|held| held.log_id == log_id && held.position.partition == partition)
    }

    /// As [`OrderStore::acquire`](super::OrderStore::acquire).
    pub fn acquire(&mut self, claim: &Claim) -> Option<Position> {
        let at = self.index(&claim.log_id, claim.partition)?;
        let held = &mut self.positions[at];
        held.owner = claim.owner;
        held.holder = holder(claim);
        Some(held.position.clone())
    }

    /// As [`OrderStore::commit_start`](super::OrderStore::commit_start).
    pub fn commit_start(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Position, StoreError> {
        let known = self.index(&claim.log_id, claim.partition);
        let at = known.unwrap_or(self.positions.len());
        let mut position = Position {
            id: at as i64 + 1,
            topic_id: decision.topic_id.clone(),
            partition: claim.partition,
            epoch: decision.epoch,
            next_offset: decision.next_offset,
            last_applied: None,
        };
        if known.is_some() {
            let held = &mut self.positions[at];
            if held.owner != claim.owner {
                return Err(StoreError::Fenced(Some(held.holder.clone())));
            }
            let found = Some((held.position.epoch, held.position.next_offset));
            if found != decision.from && found != Some((decision.epoch, decision.next_offset)) {
                return Err(StoreError::Fenced(None));
            }
            if held.position.epoch == decision.epoch {
                position.last_applied = held.position.last_applied.take();
            }
            held.position = position.clone();
        } else if decision.from.is_some() {
            return Err(StoreError::Fenced(None));
        } else {
            self.positions.push(Held {
                log_id: claim.log_id.clone(),
                position: position.clone(),
                owner: claim.owner,
                holder: holder(claim),
            });
        }
        if let Some(gap) = &decision.gap {
            // Once an epoch: the answer to its COMMIT may have been lost.
            let row = (position.id, position.epoch, gap.clone());
            if !self.gaps.contains(&row) {
                self.gaps.push(row);
            }
        }
        Ok(position)
    }

    /// As [`OrderStore::apply`](super::OrderStore::apply), where the database rejects the orders
    /// for which `rejects` is true.
    pub fn apply(
        &mut self,
        batch: &Batch,
        window: &mut RejectionWindow,
        rejects: impl Fn(&Order) -> bool,
    ) -> Result<Applied, StoreError> {
        let Some(at) = self.advance(batch)? else {
            return Ok(Applied {
                already_applied: true,
                ..Applied::default()
            });
        };
        let (rejected, accepted): (Vec<&SourcedOrder>, Vec<_>) = batch
            .orders
            .iter()
            .partition(|sourced| rejects(&sourced.order));
        if rejected.iter().any(|sourced| sourced.supersedes) {
            return Err(StoreError::Rejected("it supersedes an older one".into()));
        }
        let rejected: Rejected<'_> = rejected
            .into_iter()
            .map(|sourced| (sourced, "the test rejects it".to_owned()))
            .collect();
        // Nothing fails after this: the transaction is committed.
        *window = window.after(batch, &rejected)?;
        let (mut outdated, mut outranked) = (0, Vec::new());
        for sourced in accepted {
            if !self.upsert(batch, sourced) {
                outdated += 1;
                outranked.extend(self.outranked(batch, sourced));
            }
        }
        outranked.sort_unstable_by_key(|it| it.offset);
        for letter in rejections::dead_letters(batch, &rejected) {
            self.insert_dead_letter(batch, letter);
        }
        for gap in &batch.gaps {
            self.gaps
                .push((batch.position_id, batch.epoch, gap.clone()));
        }
        let position = &mut self.positions[at].position;
        position.next_offset = batch.end;
        if batch.last_applied.is_some() {
            position.last_applied.clone_from(&batch.last_applied);
        }
        Ok(Applied {
            rejected: rejected
                .into_iter()
                .map(|(sourced, why)| (sourced.offset, why))
                .collect(),
            outdated,
            erased: 0,
            outranked,
            already_applied: false,
        })
    }

    /// Finds the position that the batch moves; `None` when it was applied before.
    fn advance(&self, batch: &Batch) -> Result<Option<usize>, StoreError> {
        let at = self
            .positions
            .iter()
            .position(|held| held.position.id == batch.position_id)
            .ok_or(StoreError::Fenced(None))?;
        let held = &self.positions[at];
        let position = &held.position;
        let is_ours = held.owner == batch.owner && position.epoch == batch.epoch;
        if is_ours && position.next_offset == batch.start {
            return Ok(Some(at));
        }
        let is_at_end = position.next_offset == batch.end
            && (batch.last_applied.is_none() || position.last_applied == batch.last_applied);
        if is_ours && is_at_end {
            return Ok(None);
        }
        let other = (held.owner != batch.owner).then(|| held.holder.clone());
        Err(StoreError::Fenced(other))
    }

    /// Writes the order unless a newer one is stored; whether it did.
    fn upsert(&mut self, batch: &Batch, sourced: &SourcedOrder) -> bool {
        let new = Row {
            order: sourced.order.clone(),
            position_id: batch.position_id,
            epoch: batch.epoch,
            offset: sourced.offset,
            accepted_at_us: sourced.accepted_at_us,
        };
        let passes = self.orders.get(&new.order.order_uid).is_none_or(|old| {
            if (old.position_id, old.epoch) == (new.position_id, new.epoch) {
                new.offset >= old.offset
            } else {
                new.accepted_at_us >= old.accepted_at_us
            }
        });
        if passes {
            self.orders.insert(new.order.order_uid.clone(), new);
        }
        passes
    }

    fn outranked(&self, batch: &Batch, outdated: &SourcedOrder) -> Option<Outranked> {
        let row = self.orders.get(&outdated.order.order_uid)?;
        let is_its = |held: &&Held| held.position.id == row.position_id;
        let held = self.positions.iter().find(is_its)?;
        let (log_id, partition) = (&held.log_id, held.position.partition);
        (row.position_id != batch.position_id)
            .then(|| Outranked::by(outdated.offset, log_id, partition, row.offset))
    }

    fn insert_dead_letter(&mut self, batch: &Batch, letter: DeadLetter) {
        let key = (batch.position_id, batch.epoch, letter.offset);
        let is_same = |dead: &Dead| (dead.position_id, dead.epoch, dead.letter.offset) == key;
        if !self.dead_letters.iter().any(is_same) {
            self.dead_letters.push(Dead {
                position_id: batch.position_id,
                epoch: batch.epoch,
                location: format!("{}/{}/{}", batch.topic, batch.partition, letter.offset),
                letter,
            });
        }
    }

    /// As [`Positions::positions`](super::Positions::positions).
    pub fn positions(&self, log_id: &str) -> Vec<OwnedPosition> {
        let of_log = self.positions.iter().filter(|held| held.log_id == log_id);
        let mut positions: Vec<OwnedPosition> = of_log
            .map(|held| OwnedPosition {
                position: held.position.clone(),
                owner: held.owner,
                holder: held.holder.clone(),
            })
            .collect();
        positions.sort_by_key(|owned| owned.position.partition);
        positions
    }

    /// As [`OrderStore::position`](super::OrderStore::position).
    pub fn position(&self, log_id: &str, partition: i32) -> Option<Position> {
        let at = self.index(log_id, partition)?;
        Some(self.positions[at].position.clone())
    }

    /// As [`OrderStore::holder`](super::OrderStore::holder).
    pub fn holder(&self, claim: &Claim) -> Option<Holder> {
        let held = &self.positions[self.index(&claim.log_id, claim.partition)?];
        (held.owner != claim.owner).then(|| held.holder.clone())
    }

    /// As [`OrderStore::lookup`](super::OrderStore::lookup), for one uid.
    pub fn lookup(&self, log_id: &str, uid: &str) -> LookupResult {
        if let Some(row) = self.orders.get(uid) {
            let of_log = self.positions.iter().filter(|held| held.log_id == log_id);
            let positions: Vec<Position> = of_log.map(|held| held.position.clone()).collect();
            let (id, epoch, offset) = (row.position_id, row.epoch, row.offset);
            return LookupResult::Stored(Box::new(StoredOrder {
                order: row.order.clone(),
                source: current_source(&positions, Some(id), Some(epoch), Some(offset)),
                accepted_at_us: Some(row.accepted_at_us),
            }));
        }
        let is_of_uid = |dead: &&Dead| {
            let letter = &dead.letter;
            let is_key = letter.key.as_deref() == Some(uid.as_bytes());
            is_key || letter.order_uid.as_deref() == Some(uid)
        };
        match self.dead_letters.iter().rev().find(is_of_uid) {
            Some(dead) => LookupResult::DeadLettered {
                location: dead.location.clone(),
                reason: dead.letter.reason.clone(),
            },
            None => LookupResult::Absent,
        }
    }
}

fn holder(claim: &Claim) -> Holder {
    Holder {
        group: claim.group.clone(),
        host: claim.host.clone(),
        since: String::new(),
    }
}
