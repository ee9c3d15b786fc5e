//! What follows from orders that a database refuses, and what is kept of a record that is no order.
//!
//! Pure, and the same for every engine: the dead letters of a batch, and the verdict that so many
//! refusals are a schema that changed. The surprising thing: a batch larger than the window is judged
//! by itself too, as soon as enough of it was refused, so that finding out does not take minutes.

use std::collections::HashSet;

use super::{Batch, DeadLetter, RefusalWindow, SourcedOrder, StoreError};

/// Payloads up to this size are kept whole, of larger ones the head and the digest.
const WHOLE_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;
const HEAD_BYTES: usize = 1024 * 1024;

/// Orders of a batch that the database refused, and why.
pub(super) type Refused<'b> = Vec<(&'b SourcedOrder, String)>;

/// What the window looks like after this batch; too many refusals are a schema, not input.
pub(super) fn judge(
    batch: &Batch,
    window: &RefusalWindow,
    refused: &Refused<'_>,
) -> Result<RefusalWindow, StoreError> {
    let mut judged = window.clone();
    let dead: HashSet<i64> = refused.iter().map(|(order, _)| order.offset).collect();
    // In the order of the log: sorted by uid, one sender's orders would stand together.
    let mut offsets: Vec<i64> = batch.orders.iter().map(|sourced| sourced.offset).collect();
    offsets.sort_unstable();
    for offset in offsets {
        judged.note(dead.contains(&offset));
    }
    match refused.first() {
        Some((_, why)) if judged.is_a_schema_problem() => Err(schema_problem(why)),
        _ => Ok(judged),
    }
}

/// A batch larger than the window is judged as a whole too, and no longer than it must be.
pub(super) fn too_many(batch: &Batch, refused: &Refused<'_>) -> Option<StoreError> {
    let judges_itself = batch.orders.len() >= RefusalWindow::LENGTH;
    let (_, why) = refused.first()?;
    (judges_itself && refused.len() >= 2 && refused.len() * 20 > batch.orders.len())
        .then(|| schema_problem(why))
}

fn schema_problem(why: &str) -> StoreError {
    StoreError::Misconfigured(format!(
        "it refuses too many valid orders to be their fault: {why}"
    ))
}

/// All dead letters of a batch: records that were no orders, and orders that were refused.
pub(super) fn letters(batch: &Batch, refused: &Refused<'_>) -> Vec<DeadLetter> {
    let refused = refused.iter().map(|(sourced, why)| DeadLetter {
        offset: sourced.offset,
        key: Some(sourced.order.order_uid.clone().into()),
        payload: Some(sourced.order.encode().into()),
        accepted_at_us: sourced.accepted_at_us,
        order_uid: Some(sourced.order.order_uid.clone()),
        reason: format!("the database refuses it: {why}"),
    });
    batch.dead_letters.iter().cloned().chain(refused).collect()
}

/// As much of a payload as is kept.
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
    use sha2::Digest;
    let payload = letter.payload.as_deref()?;
    (payload.len() > WHOLE_PAYLOAD_BYTES).then(|| sha2::Sha256::digest(payload).to_vec())
}
