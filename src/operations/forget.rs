//! Tells every API to forget orders that an operator has changed or erased in the store.

use crate::event_log::{AppendError, Durability, EventLog, NewRecord};
use crate::pipeline::lookup_protocol::Forget;
use crate::pipeline::time::now_us;

/// Appends a *forget* record to the topic of replies. Call once the store has the change: an API that
/// reads the record looks the order up again. Blocks until the log has it, a few seconds at most.
pub fn forget(log: &dyn EventLog, found_topic: &str, order_uid: &str) -> Result<(), AppendError> {
    let message = Forget::encode(order_uid, now_us());
    let record = NewRecord {
        topic: found_topic,
        key: message.key,
        value: message.value,
        headers: &message.headers(),
    };
    log.append(Durability::Durable, record)?.wait()?;
    Ok(())
}
