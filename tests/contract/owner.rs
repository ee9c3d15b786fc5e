//! The owner of a partition of a new log, and what it writes.

use bytes::Bytes;
use orders::order::Order;
use orders::pipeline::LastApplied;
use orders::store::{
    Applied, Batch, Claim, DeadLetter, Gap, OrderStore, Position, RejectionWindow, SourcedOrder,
    StartDecision, StoreError,
};
use support::orders::order_version;
use uuid::Uuid;

use crate::contract::stores::Database;

pub const LOG: &str = "cluster/orders";

impl Database {
    /// A store that has acquired partition 0 of a new log.
    pub fn owner(&self) -> Owner {
        let mut store = self.store();
        let claim = claim();
        let acquired = store.acquire(&claim);
        assert_eq!(acquired.expect("the partition can be acquired"), None);
        let position = commit_start(&mut *store, &claim, "topic-1", 1, 0);
        Owner {
            store,
            claim,
            position,
            window: RejectionWindow::default(),
        }
    }
}

pub fn claim() -> Claim {
    Claim {
        log_id: LOG.into(),
        partition: 0,
        owner: Uuid::new_v4(),
        group: "group".into(),
        host: "host".into(),
    }
}

pub fn commit_start(
    store: &mut dyn OrderStore,
    claim: &Claim,
    topic_id: &str,
    epoch: i32,
    next_offset: i64,
) -> Position {
    let position = store.position(LOG, 0).expect("the store responds");
    let decision = StartDecision {
        from: position.map(|position| (position.epoch, position.next_offset)),
        topic_id: topic_id.into(),
        epoch,
        next_offset,
        gap: None,
    };
    store
        .commit_start(claim, &decision)
        .expect("the start can be committed")
}

/// The owner of a partition, and its position.
pub struct Owner {
    pub store: Box<dyn OrderStore>,
    pub claim: Claim,
    pub position: Position,
    pub window: RejectionWindow,
}

impl Owner {
    pub fn batch(&self, orders: Vec<SourcedOrder>) -> Batch {
        let start = self.position.next_offset;
        let last = orders
            .iter()
            .map(|order| order.offset + 1)
            .max()
            .unwrap_or(start);
        Batch {
            position_id: self.position.id,
            owner: self.claim.owner,
            epoch: self.position.epoch,
            topic: "orders".into(),
            partition: 0,
            start,
            end: last,
            last_applied: Some(LastApplied {
                offset: last - 1,
                digest: [7; 32],
            }),
            orders,
            dead_letters: Vec::new(),
            gaps: Vec::new(),
        }
    }

    pub fn apply(&mut self, batch: &Batch) -> Result<Applied, StoreError> {
        let applied = self.store.apply(batch, &mut self.window)?;
        self.position.next_offset = batch.end;
        Ok(applied)
    }

    /// Applies a batch of these orders.
    pub fn apply_orders(&mut self, orders: Vec<SourcedOrder>) -> Applied {
        let batch = self.batch(orders);
        self.apply(&batch).expect("the batch is stored")
    }
}

/// One version of an order at an offset, accepted at that many seconds.
pub fn sourced(uid: &str, version: u32, offset: i64, accepted_s: i64) -> SourcedOrder {
    SourcedOrder {
        order: decoded(order_version(uid, version)),
        offset,
        accepted_at_us: accepted_s * 1_000_000,
        supersedes: false,
    }
}

/// An order of another entry than others, for [`Database::reject_entry`].
pub fn with_entry(uid: &str, entry: &str, offset: i64) -> SourcedOrder {
    let mut sourced = sourced(uid, 1, offset, 0);
    sourced.order.entry = entry.into();
    sourced
}

pub fn decoded(order: serde_json::Value) -> Order {
    Order::decode(order.to_string().as_bytes()).expect("the order is valid")
}

pub const AMOUNTS: &str = "SELECT order_uid, amount FROM payment ORDER BY order_uid";

pub fn dead(offset: i64, uid: Option<&str>) -> DeadLetter {
    DeadLetter {
        offset,
        key: None,
        payload: Some(Bytes::from_static(b"\x00\xffraw")),
        accepted_at_us: 1,
        order_uid: uid.map(str::to_owned),
        reason: "it is not JSON".into(),
    }
}

pub fn hole(from: i64, to: Option<i64>) -> Gap {
    Gap {
        from,
        to,
        reason: "a hole".into(),
    }
}
