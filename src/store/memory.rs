//! The tables of a store as a plain value, for the models of the tests.
//!
//! Owns what every engine promises about positions, batches and their refusals, and nothing of
//! connections or outages: those are added by whoever wraps it. That it does what PostgreSQL does is
//! checked by a contract test which gives both the same calls. The surprising thing: it is compiled
//! twice, here for the model of a lane and, by its path, into the tests against true servers.

use std::collections::BTreeMap;

use super::*;

/// What one database holds.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub positions: Vec<Held>,
    pub orders: BTreeMap<String, Row>,
    pub dead_letters: Vec<Dead>,
    pub gaps: Vec<(i64, i32, Gap)>,
}

/// A position and who has it.
#[derive(Clone, Debug)]
pub struct Held {
    pub log_id: String,
    pub position: Position,
    pub owner: Uuid,
    pub group: String,
    pub host: String,
}

/// An order and where it came from.
#[derive(Clone, Debug)]
pub struct Row {
    pub order: Order,
    pub position_id: i64,
    pub epoch: i32,
    pub offset: i64,
    pub accepted_at_us: i64,
}

/// A dead letter and where it belongs.
#[derive(Clone, Debug)]
pub struct Dead {
    pub position_id: i64,
    pub epoch: i32,
    pub place: String,
    pub letter: DeadLetter,
}

impl Tables {
    fn held(&mut self, log_id: &str, partition: i32) -> Option<&mut Held> {
        let is_it =
            |held: &&mut Held| held.log_id == log_id && held.position.partition == partition;
        self.positions.iter_mut().find(is_it)
    }

    /// As `OrderStore::take`.
    pub fn take(&mut self, claim: &Claim) -> Option<Position> {
        let held = self.held(&claim.log_id, claim.partition)?;
        held.belongs_to(claim);
        Some(held.position.clone())
    }

    /// As `OrderStore::settle`.
    pub fn settle(&mut self, claim: &Claim, decided: &Settlement) -> Result<Position, StoreError> {
        let next_id = self.positions.len() as i64 + 1;
        let settled = match self.held(&claim.log_id, claim.partition) {
            Some(held) if held.owner != claim.owner => {
                return Err(StoreError::Fenced(Some(held.holder())));
            }
            Some(held) => {
                held.belongs_to(claim);
                let position = &mut held.position;
                if position.epoch != decided.epoch {
                    position.last_applied = None;
                }
                position.topic_id.clone_from(&decided.topic_id);
                position.epoch = decided.epoch;
                position.next_offset = decided.next_offset;
                position.clone()
            }
            None => {
                let position = Position {
                    id: next_id,
                    topic_id: decided.topic_id.clone(),
                    partition: claim.partition,
                    epoch: decided.epoch,
                    next_offset: decided.next_offset,
                    last_applied: None,
                };
                self.positions.push(Held::new(claim, position.clone()));
                position
            }
        };
        if let Some(gap) = &decided.gap {
            // One epoch passes the same gap only once: the answer to its COMMIT may have been lost.
            let noted = (settled.id, settled.epoch, gap.clone());
            if !self.gaps.contains(&noted) {
                self.gaps.push(noted);
            }
        }
        Ok(settled)
    }

    /// As `OrderStore::apply`, where the database refuses the orders that `refuses` names.
    pub fn apply(
        &mut self,
        batch: &Batch,
        window: &mut RefusalWindow,
        refuses: impl Fn(&Order) -> bool,
    ) -> Result<Applied, StoreError> {
        let at = self.advanced(batch)?;
        let Some(at) = at else {
            return Ok(Applied {
                already: true,
                ..Applied::default()
            });
        };
        let (refused, taken): (Vec<_>, Vec<_>) = batch
            .orders
            .iter()
            .partition(|sourced| refuses(&sourced.order));
        if refused.iter().any(|sourced| sourced.supersedes) {
            return Err(StoreError::Rejected("it stands for an older one".into()));
        }
        let judged = judged(batch, window, &refused)?;
        // Nothing fails from here on: the transaction is committed.
        *window = judged;
        let mut outdated = 0;
        for sourced in taken {
            outdated += usize::from(!self.upsert(batch, sourced));
        }
        let letters = refused.iter().map(|sourced| refusal(sourced));
        for letter in batch.dead_letters.iter().cloned().chain(letters) {
            self.bury(batch, letter);
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
            refused: refused.iter().map(why).collect(),
            outdated,
            already: false,
        })
    }

    /// Which position the batch moves; `None` when it has moved it before.
    fn advanced(&self, batch: &Batch) -> Result<Option<usize>, StoreError> {
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

    /// The guard; whether the order passed.
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

    fn bury(&mut self, batch: &Batch, letter: DeadLetter) {
        let place = (batch.position_id, batch.epoch, letter.offset);
        let is_there = |dead: &Dead| (dead.position_id, dead.epoch, dead.letter.offset) == place;
        if !self.dead_letters.iter().any(is_there) {
            self.dead_letters.push(Dead {
                position_id: batch.position_id,
                epoch: batch.epoch,
                place: format!("{}/{}/{}", batch.topic, batch.partition, letter.offset),
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

    /// As `OrderStore::answers`, for one uid.
    pub fn answer(&self, log_id: &str, uid: &str) -> Answer {
        if let Some(row) = self.orders.get(uid) {
            return Answer::Stored(Box::new(StoredOrder {
                order: row.order.clone(),
                source: self.source(log_id, row),
                accepted_at_us: Some(row.accepted_at_us),
            }));
        }
        let dead = |dead: &&Dead| dead.letter.order_uid.as_deref() == Some(uid);
        match self.dead_letters.iter().rev().find(dead) {
            Some(dead) => Answer::DeadLettered {
                place: dead.place.clone(),
            },
            None => Answer::Absent,
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

    fn belongs_to(&mut self, claim: &Claim) {
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

/// What the window looks like after the batch; too many refusals are a schema, not input.
fn judged(
    batch: &Batch,
    window: &RefusalWindow,
    refused: &[&SourcedOrder],
) -> Result<RefusalWindow, StoreError> {
    let mut judged = window.clone();
    let mut offsets: Vec<i64> = batch.orders.iter().map(|sourced| sourced.offset).collect();
    offsets.sort_unstable();
    for offset in offsets {
        judged.note(refused.iter().any(|sourced| sourced.offset == offset));
    }
    if !refused.is_empty() && judged.is_a_schema_problem() {
        return Err(StoreError::Misconfigured("it refuses too many".into()));
    }
    Ok(judged)
}

fn refusal(sourced: &SourcedOrder) -> DeadLetter {
    DeadLetter {
        offset: sourced.offset,
        key: Some(sourced.order.order_uid.clone().into()),
        payload: Some(sourced.order.encode().into()),
        accepted_at_us: sourced.accepted_at_us,
        order_uid: Some(sourced.order.order_uid.clone()),
        reason: "the database refuses it".into(),
    }
}
