//! The database of the model: the tables do each call, and what they hold afterwards is compared with
//! the ledger. It also asserts what no lane may do: write as a former owner, dead-letter orders that a
//! changed schema refuses, apply the same refused batch twice.

use super::log::{LOG_ID, REFUSED_ENTRY};
use super::world::State;
use crate::order::Order;
use crate::store::{
    Applied, Batch, Claim, Gap, Position, RejectionWindow, SourcedOrder, StartDecision, StoreError,
};

impl State {
    pub fn acquire(&mut self, claim: &Claim) -> Option<Position> {
        let acquired = self.tables.acquire(claim)?;
        self.ledger.owner = self.lane().number;
        self.changed();
        Some(acquired)
    }

    pub fn commit_start(
        &mut self,
        claim: &Claim,
        to: &StartDecision,
    ) -> Result<Position, StoreError> {
        let started = self.tables.commit_start(claim, to)?;
        let number = self.lane().number;
        if self.ledger.position.is_none() {
            self.ledger.owner = number;
        }
        assert_eq!(
            self.ledger.owner, number,
            "a former owner moved the position"
        );
        // The same gap may come again, when the answer was lost: it is there already.
        let all = self.tables.gaps.iter();
        let of_epoch = all.filter(|(_, epoch, _)| *epoch == started.epoch);
        let gaps: Vec<&Gap> = of_epoch.map(|(_, _, gap)| gap).collect();
        self.ledger
            .started(&started, &self.log, &gaps, &self.accepted);
        self.changed();
        Ok(started)
    }

    pub fn apply(
        &mut self,
        batch: &Batch,
        window: &mut RejectionWindow,
    ) -> Result<Applied, StoreError> {
        let known_gaps = self.tables.gaps.len();
        let refuses = |order: &Order| self.refusing && order.entry == REFUSED_ENTRY;
        let applied = self.tables.apply(batch, window, refuses);
        if let Err(StoreError::Rejected(_)) = applied {
            let range = (batch.start, batch.end);
            let before = self.lane().rejected.replace(range);
            assert_ne!(before, Some(range), "the next batch must be smaller");
        }
        let applied = applied?;
        if applied.already_applied {
            return Ok(applied);
        }
        self.assert_window_holds(batch, &applied);
        let number = self.lane().number;
        assert_eq!(self.ledger.owner, number, "a former owner stored a batch");
        let position = self
            .tables
            .position(LOG_ID, 0)
            .expect("a batch was applied to it");
        let gaps = self.tables.gaps[known_gaps..].iter();
        let gaps: Vec<&Gap> = gaps.map(|(_, _, gap)| gap).collect();
        let delivered = &self.lanes.last().expect("a lane is calling").delivered;
        self.ledger
            .applied(&position, delivered, &self.log, &gaps, self.refusing);
        self.changed();
        Ok(applied)
    }

    /// The lane received the answer that its batch was committed.
    pub fn remember(&mut self, batch: &Batch, applied: &Applied) {
        if !applied.already_applied {
            let outcomes = outcomes(batch, applied);
            self.lane().outcomes.extend(outcomes);
        }
    }

    /// Two refusals among the last two hundred orders, and more than one in twenty, mean that the
    /// schema changed: then nothing may be dead-lettered for it.
    fn assert_window_holds(&mut self, batch: &Batch, applied: &Applied) {
        if applied.rejected.is_empty() {
            return;
        }
        let mut all = self.lane().outcomes.clone();
        all.extend(outcomes(batch, applied));
        let last = &all[all.len().saturating_sub(RejectionWindow::LENGTH)..];
        let refused = last.iter().filter(|refused| **refused).count();
        assert!(
            refused < 2 || refused * 20 <= last.len(),
            "{refused} of {} orders became dead letters",
            last.len()
        );
    }

    fn changed(&mut self) {
        self.ledger.check(&self.tables);
        self.past.push((self.tables.clone(), self.ledger.clone()));
        if self.past.len() > 8 {
            self.past.remove(0);
        }
    }
}

/// Whether each order of the batch was refused, in the order of the log.
fn outcomes(batch: &Batch, applied: &Applied) -> Vec<bool> {
    let mut orders: Vec<&SourcedOrder> = batch.orders.iter().collect();
    orders.sort_by_key(|sourced| sourced.offset);
    let is_refused = |sourced: &&SourcedOrder| {
        applied
            .rejected
            .iter()
            .any(|(offset, _)| *offset == sourced.offset)
    };
    orders.iter().map(is_refused).collect()
}
