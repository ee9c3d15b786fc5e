//! What follows from orders that a database rejects, and what is kept of a record that is no order.
//!
//! Pure, and the same for every engine: the dead letters of a batch, and the verdict that so many
//! rejections come from a schema that changed.

use std::collections::{HashSet, VecDeque};

use sha2::{Digest, Sha256};

use super::{Batch, DeadLetter, SourcedOrder, StoreError};

/// Payloads up to this size are kept whole, of larger ones the head and the digest.
const WHOLE_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;
const HEAD_BYTES: usize = 1024 * 1024;

/// Which of the last 200 valid orders the database rejected, across batches. Two or more and more
/// than 5 % of them mean that the schema changed: the orders are not at fault.
#[derive(Clone, Debug, Default)]
pub struct RejectionWindow(VecDeque<bool>);

impl RejectionWindow {
    /// How many orders it remembers.
    pub const LENGTH: usize = 200;

    pub fn record(&mut self, rejected: bool) {
        if self.0.len() == Self::LENGTH {
            self.0.pop_front();
        }
        self.0.push_back(rejected);
    }

    pub fn is_schema_problem(&self) -> bool {
        let rejected = self.0.iter().filter(|rejected| **rejected).count();
        rejected >= 2 && rejected * 20 > self.0.len()
    }
}

/// Orders of a batch that the database rejected, and why.
pub(super) type Rejected<'b> = Vec<(&'b SourcedOrder, String)>;

/// Returns the window after this batch, or [`StoreError::Misconfigured`] for too many rejections.
pub(super) fn judge(
    batch: &Batch,
    window: &RejectionWindow,
    rejected: &Rejected<'_>,
) -> Result<RejectionWindow, StoreError> {
    let mut judged = window.clone();
    let dead: HashSet<i64> = rejected.iter().map(|(order, _)| order.offset).collect();
    // In log order: sorted by uid, the orders of one sender would stand together.
    let mut offsets: Vec<i64> = batch.orders.iter().map(|sourced| sourced.offset).collect();
    offsets.sort_unstable();
    for offset in offsets {
        judged.record(dead.contains(&offset));
    }
    match rejected.first() {
        Some((_, why)) if judged.is_schema_problem() => Err(schema_problem(why)),
        _ => Ok(judged),
    }
}

/// Returns an error as soon as too many orders of a batch larger than the window are rejected:
/// finding every rejected order of such a batch would take minutes.
pub(super) fn too_many(batch: &Batch, rejected: &Rejected<'_>) -> Option<StoreError> {
    let exceeds_window = batch.orders.len() >= RejectionWindow::LENGTH;
    let (_, why) = rejected.first()?;
    (exceeds_window && rejected.len() >= 2 && rejected.len() * 20 > batch.orders.len())
        .then(|| schema_problem(why))
}

fn schema_problem(why: &str) -> StoreError {
    StoreError::Misconfigured(format!(
        "it rejects so many valid orders that its schema must have changed: {why}"
    ))
}

/// All dead letters of a batch: records that were no orders, and orders that were rejected.
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
