//! The tables of a store as a plain value, for the model tests.
//!
//! Owns what every engine promises about positions, batches and rejections, and nothing of connections
//! or outages: the callers add those. A contract test gives it and a real engine the same calls.
//! Compiled twice: here for the model of a lane and, by its path, into the integration tests.

use std::collections::BTreeMap;

use super::{
    Applied, Batch, Claim, DeadLetter, Gap, Holder, LookupResult, Order, PartitionOffset, Position,
    RejectionWindow, Source, SourcedOrder, StartDecision, StoreError, StoredOrder, Uuid,
};

/// What one database holds.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub positions: Vec<Held>,
    pub orders: BTreeMap<String, Row>,
    pub dead_letters: Vec<Dead>,
    pub gaps: Vec<(i64, i32, Gap)>,
}

/// A position and its owner.
#[derive(Clone, Debug)]
pub struct Held {
    pub log_id: String,
    pub position: Position,
    pub owner: Uuid,
    pub group: String,
    pub host: String,
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
    fn held(&mut self, log_id: &str, partition: i32) -> Option<&mut Held> {
        let is_it =
            |held: &&mut Held| held.log_id == log_id && held.position.partition == partition;
        self.positions.iter_mut().find(is_it)
    }

    /// As `OrderStore::acquire`.
    pub fn acquire(&mut self, claim: &Claim) -> Option<Position> {
        let held = self.held(&claim.log_id, claim.partition)?;
        held.set_owner(claim);
        Some(held.position.clone())
    }

    /// As `OrderStore::commit_start`.
    pub fn commit_start(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Position, StoreError> {
        let next_id = self.positions.len() as i64 + 1;
        let position = match self.held(&claim.log_id, claim.partition) {
            Some(held) if held.owner != claim.owner => {
                return Err(StoreError::Fenced(Some(held.holder())));
            }
            Some(held) => {
                held.set_owner(claim);
                let position = &mut held.position;
                if position.epoch != decision.epoch {
                    position.last_applied = None;
                }
                position.topic_id.clone_from(&decision.topic_id);
                position.epoch = decision.epoch;
                position.next_offset = decision.next_offset;
                position.clone()
            }
            None => {
                let position = Position {
                    id: next_id,
                    topic_id: decision.topic_id.clone(),
                    partition: claim.partition,
                    epoch: decision.epoch,
                    next_offset: decision.next_offset,
                    last_applied: None,
                };
                self.positions.push(Held::new(claim, position.clone()));
                position
            }
        };
        if let Some(gap) = &decision.gap {
            // Once an epoch: the answer to its COMMIT may have been lost.
            let row = (position.id, position.epoch, gap.clone());
            if !self.gaps.contains(&row) {
                self.gaps.push(row);
            }
        }
        Ok(position)
    }

    /// As `OrderStore::apply`, where the database rejects the orders for which `rejects` is true.
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
        let (rejected, accepted): (Vec<_>, Vec<_>) = batch
            .orders
            .iter()
            .partition(|sourced| rejects(&sourced.order));
        if rejected.iter().any(|sourced| sourced.supersedes) {
            return Err(StoreError::Rejected("it supersedes an older one".into()));
        }
        let judged = judged(batch, window, &rejected)?;
        // Nothing fails from here on: the transaction is committed.
        *window = judged;
        let mut outdated = 0;
        for sourced in accepted {
            outdated += usize::from(!self.upsert(batch, sourced));
        }
        let letters = rejected.iter().map(|sourced| rejected_letter(sourced));
        for letter in batch.dead_letters.iter().cloned().chain(letters) {
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
        let why = |sourced: &&SourcedOrder| (sourced.offset, "refused".to_owned());
        Ok(Applied {
            rejected: rejected.iter().map(why).collect(),
            outdated,
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
        let is_there = position.next_offset == batch.end
            && (batch.last_applied.is_none() || position.last_applied == batch.last_applied);
        if is_ours && is_there {
            return Ok(None);
        }
        let other = (held.owner != batch.owner).then(|| held.holder());
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

    fn insert_dead_letter(&mut self, batch: &Batch, letter: DeadLetter) {
        let key = (batch.position_id, batch.epoch, letter.offset);
        let is_there = |dead: &Dead| (dead.position_id, dead.epoch, dead.letter.offset) == key;
        if !self.dead_letters.iter().any(is_there) {
            self.dead_letters.push(Dead {
                position_id: batch.position_id,
                epoch: batch.epoch,
                location: format!("{}/{}/{}", batch.topic, batch.partition, letter.offset),
                letter,
            });
        }
    }

    /// As `OrderStore::position`.
    pub fn position(&self, log_id: &str, partition: i32) -> Option<Position> {
        self.positions
            .iter()
            .find(|held| held.log_id == log_id && held.position.partition == partition)
            .map(|held| held.position.clone())
    }

    /// As `OrderStore::holder`.
    pub fn holder(&self, claim: &Claim) -> Option<Holder> {
        self.positions
            .iter()
            .find(|held| held.log_id == claim.log_id && held.position.partition == claim.partition)
            .filter(|held| held.owner != claim.owner)
            .map(Held::holder)
    }

    /// As `OrderStore::lookup`, for one uid.
    pub fn lookup(&self, log_id: &str, uid: &str) -> LookupResult {
        if let Some(row) = self.orders.get(uid) {
            return LookupResult::Stored(Box::new(StoredOrder {
                order: row.order.clone(),
                source: self.source(log_id, row),
                accepted_at_us: Some(row.accepted_at_us),
            }));
        }
        let dead = |dead: &&Dead| dead.letter.order_uid.as_deref() == Some(uid);
        match self.dead_letters.iter().rev().find(dead) {
            Some(dead) => LookupResult::DeadLettered {
                location: dead.location.clone(),
            },
            None => LookupResult::Absent,
        }
    }

    fn source(&self, log_id: &str, row: &Row) -> Option<Source> {
        let held = self.positions.iter().find(|held| {
            held.log_id == log_id
                && (held.position.id, held.position.epoch) == (row.position_id, row.epoch)
        })?;
        Some(Source {
            topic_id: held.position.topic_id.clone(),
            at: PartitionOffset::new(held.position.partition, row.offset),
        })
    }
}

impl Held {
    fn new(claim: &Claim, position: Position) -> Held {
        Held {
            log_id: claim.log_id.clone(),
            position,
            owner: claim.owner,
            group: claim.group.clone(),
            host: claim.host.clone(),
        }
    }

    fn set_owner(&mut self, claim: &Claim) {
        self.owner = claim.owner;
        self.group.clone_from(&claim.group);
        self.host.clone_from(&claim.host);
    }

    fn holder(&self) -> Holder {
        Holder {
            group: self.group.clone(),
            host: self.host.clone(),
            since: String::new(),
        }
    }
}

/// Returns the window after this batch, or an error for too many rejections.
fn judged(
    batch: &Batch,
    window: &RejectionWindow,
    rejected: &[&SourcedOrder],
) -> Result<RejectionWindow, StoreError> {
    let mut judged = window.clone();
    let mut offsets: Vec<i64> = batch.orders.iter().map(|sourced| sourced.offset).collect();
    offsets.sort_unstable();
    for offset in offsets {
        judged.record(rejected.iter().any(|sourced| sourced.offset == offset));
    }
    if !rejected.is_empty() && judged.is_schema_problem() {
        return Err(StoreError::Misconfigured("it rejects too many".into()));
    }
    Ok(judged)
}

fn rejected_letter(sourced: &SourcedOrder) -> DeadLetter {
    DeadLetter {
        offset: sourced.offset,
        key: Some(sourced.order.order_uid.clone().into()),
        payload: Some(sourced.order.encode().into()),
        accepted_at_us: sourced.accepted_at_us,
        order_uid: Some(sourced.order.order_uid.clone()),
        reason: "the database refuses it".into(),
    }
}
