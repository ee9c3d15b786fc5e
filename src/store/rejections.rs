//! Orders that the database rejects: their dead letters, and when they mean a changed schema.
//!
//! Pure, and the same for every engine. Owns also how much of a dead letter's payload is stored.

use std::collections::{HashSet, VecDeque};

use sha2::{Digest, Sha256};

use super::{Batch, DeadLetter, SourcedOrder, StoreError};

/// Payloads up to this size are kept whole, of larger ones the head and the digest.
const WHOLE_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;
const HEAD_BYTES: usize = 1024 * 1024;

/// The reason in `log_gaps` that marks the offset of a dead letter which was pruned: its record is
/// accounted for, and a replay does not refuse it again.
pub(super) const PRUNED: &str = "dead letter pruned";

/// Which of the last 200 valid orders the database rejected, across batches. Two or more and more
/// than 5 % of them mean that the schema changed: the orders are not invalid.
#[derive(Clone, Debug, Default)]
pub struct RejectionWindow(VecDeque<bool>);

impl RejectionWindow {
    /// How many orders it covers.
    pub const LENGTH: usize = 200;

    /// Returns the window after this batch, or [`StoreError::Misconfigured`] for too many
    /// rejections.
    pub(super) fn after(
        &self,
        batch: &Batch,
        rejected: &Rejected<'_>,
    ) -> Result<RejectionWindow, StoreError> {
        let mut window = self.clone();
        let offsets: HashSet<i64> = rejected.iter().map(|(order, _)| order.offset).collect();
        // In log order: sorted by uid, the orders of one sender would be adjacent.
        let mut all: Vec<i64> = batch.orders.iter().map(|sourced| sourced.offset).collect();
        all.sort_unstable();
        for offset in all {
            window.record(offsets.contains(&offset));
        }
        match rejected.first() {
            Some((_, why)) if window.is_schema_problem() => Err(schema_problem(why)),
            _ => Ok(window),
        }
    }

    fn record(&mut self, rejected: bool) {
        if self.0.len() == Self::LENGTH {
            self.0.pop_front();
        }
        self.0.push_back(rejected);
    }

    fn is_schema_problem(&self) -> bool {
        let rejected = self.0.iter().filter(|rejected| **rejected).count();
        are_too_many(rejected, self.0.len())
    }
}

fn are_too_many(rejected: usize, orders: usize) -> bool {
    rejected >= 2 && rejected * 20 > orders
}

/// Orders of a batch that the database rejected, and why.
pub(super) type Rejected<'b> = Vec<(&'b SourcedOrder, String)>;

/// Returns an error as soon as too many orders of a batch larger than the window are rejected:
/// finding every rejected order of such a batch would take minutes.
pub(super) fn too_many(batch: &Batch, rejected: &Rejected<'_>) -> Option<StoreError> {
    let orders = batch.orders.len();
    let (_, why) = rejected.first()?;
    (orders >= RejectionWindow::LENGTH && are_too_many(rejected.len(), orders))
        .then(|| schema_problem(why))
}

fn schema_problem(why: &str) -> StoreError {
    StoreError::Misconfigured(format!(
        "it rejects so many valid orders that its schema must have changed: {why}"
    ))
}

/// All dead letters of a batch: records that are not orders, and orders that were rejected.
pub(super) fn dead_letters(batch: &Batch, rejected: &Rejected<'_>) -> Vec<DeadLetter> {
    let rejected = rejected.iter().map(|(sourced, why)| DeadLetter {
        offset: sourced.offset,
        key: Some(sourced.order.order_uid.clone().into()),
        payload: Some(sourced.order.encode().into()),
        accepted_at_us: sourced.accepted_at_us,
        order_uid: Some(sourced.order.order_uid.clone()),
        reason: format!("the database refuses it: {why}"),
    });
    batch.dead_letters.iter().cloned().chain(rejected).collect()
}

/// The part of a payload that is kept.
pub(super) fn kept_payload(letter: &DeadLetter) -> Option<&[u8]> {
    let payload = letter.payload.as_deref()?;
    Some(if payload.len() <= WHOLE_PAYLOAD_BYTES {
        payload
    } else {
        &payload[..HEAD_BYTES]
    })
}

/// The SHA-256 of a payload that is not kept whole.
pub(super) fn payload_digest(letter: &DeadLetter) -> Option<Vec<u8>> {
    let payload = letter.payload.as_deref()?;
    (payload.len() > WHOLE_PAYLOAD_BYTES).then(|| Sha256::digest(payload).to_vec())
}

/// The length of the whole payload.
pub(super) fn payload_bytes(letter: &DeadLetter) -> i64 {
    letter
        .payload
        .as_ref()
        .map_or(0, |payload| payload.len() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rejections_and_more_than_one_in_twenty_are_a_schema_problem() {
        for (rejected, accepted, expected) in [
            (1, 0, false),
            (2, 0, true),
            (2, 37, true),
            (2, 38, false),
            (10, 190, false),
            (11, 189, true),
            // The window covers the last 200 orders.
            (100, 200, false),
        ] {
            let mut window = RejectionWindow::default();
            for number in 0..rejected + accepted {
                window.record(number < rejected);
            }
            let is_problem = window.is_schema_problem();
            assert_eq!(is_problem, expected, "{rejected} and {accepted}");
        }
    }
}
