//! The in-memory store of the lane model behaves like the real engines: both get the same calls, and
//! every result and their contents at the end are compared.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use bytes::Bytes;
use orders::order::Order;
use orders::pipeline::{LastApplied, PartitionOffset, Source, TopicId};
use orders::store::*;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use support::Db;
use support::orders::order_version;
use uuid::Uuid;

use self::tables::Tables;
use crate::contract::stores::Database;

#[path = "../../src/replayable.rs"]
mod replayable;
#[path = "../../src/store/memory.rs"]
mod tables;

const REJECTED_ENTRY: &str = "REFUSED";
const UIDS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Good,
    Rejected,
    /// Its record could not be decoded; the uid could be read.
    Dead,
    Hole,
}

/// Where a batch begins.
#[derive(Clone, Copy, Debug)]
enum Aim {
    AtThePosition,
    BesideIt(i64),
    OtherEpoch,
    /// The last one of this owner, again.
    Again,
}

#[derive(Clone, Debug)]
enum Step {
    Acquire,
    CommitStart { epochs: i32, moves: i64, gap: bool },
    Apply(Aim, Vec<(usize, Kind, i64)>),
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        8 => Just(Kind::Good),
        1 => Just(Kind::Rejected),
        1 => Just(Kind::Dead),
        1 => Just(Kind::Hole),
    ];
    let aim = prop_oneof![
        6 => Just(Aim::AtThePosition),
        1 => (-2..3_i64).prop_map(Aim::BesideIt),
        1 => Just(Aim::OtherEpoch),
        2 => Just(Aim::Again),
    ];
    let records = vec((0..UIDS, kind, 0..6_i64), 0..6);
    prop_oneof![
        2 => Just(Step::Acquire),
        2 => (0..2_i32, -4..3_i64, any::<bool>())
            .prop_map(|(epochs, moves, gap)| Step::CommitStart { epochs, moves, gap }),
        6 => (aim, records).prop_map(|(aim, records)| Step::Apply(aim, records)),
        1 => Just(Step::Read),
    ]
}

/// A consumer of both stores.
struct Owner {
    claim: Claim,
    windows: [RejectionWindow; 2],
    last: Option<Batch>,
}

/// Both stores, and the names of one case.
struct Pair<'s> {
    store: &'s mut dyn OrderStore,
    memory: Tables,
    log_id: String,
    owners: Vec<Owner>,
}

impl Pair<'_> {
    fn uid(&self, number: usize) -> String {
        format!("{}-{number}", self.log_id)
    }

    fn run(&mut self, by: usize, step: Step) {
        match step {
            Step::Acquire => {
                let claim = &self.owners[by].claim;
                let acquired = self.store.acquire(claim).expect("the store answers");
                assert_eq!(known(acquired), known(self.memory.acquire(claim)));
            }
            Step::CommitStart { epochs, moves, gap } => self.commit_start(by, epochs, moves, gap),
            Step::Apply(aim, records) => self.apply(by, aim, &records),
            Step::Read => self.read(by),
        }
    }

    fn commit_start(&mut self, by: usize, epochs: i32, moves: i64, gap: bool) {
        let claim = self.owners[by].claim.clone();
        let position = self.memory.position(&self.log_id, 0);
        let (epoch, next) = position.map_or((0, 0), |it| (it.epoch, it.next_offset));
        let decision = StartDecision {
            topic_id: format!("topic-{}", epoch + epochs).into(),
            epoch: epoch + epochs,
            next_offset: (next + moves).max(0),
            gap: gap.then(|| hole(next, None)),
        };
        let committed = self.store.commit_start(&claim, &decision);
        let committed = committed.map(Some).map(known).map_err(|error| kind(&error));
        let expected = self.memory.commit_start(&claim, &decision);
        let expected = expected.map(Some).map(known).map_err(|error| kind(&error));
        assert_eq!(committed, expected);
    }

    fn apply(&mut self, by: usize, aim: Aim, records: &[(usize, Kind, i64)]) {
        let mut batch = match aim {
            Aim::Again => match self.owners[by].last.clone() {
                Some(last) => last,
                None => return,
            },
            aim => self.batch(by, aim, records),
        };
        self.owners[by].last = Some(batch.clone());
        let rejects = |order: &Order| order.entry == REJECTED_ENTRY;
        let [window, other] = &mut self.owners[by].windows;
        // Each numbers its positions separately.
        let position = self.memory.position(&self.log_id, 0);
        batch.position_id = position.map_or(-1, |position| position.id);
        let expected = self.memory.apply(&batch, other, rejects);
        let position = self.store.position(&self.log_id, 0);
        let position = position.expect("the store answers");
        batch.position_id = position.map_or(-1, |position| position.id);
        let applied = self.store.apply(&batch, window);
        assert_eq!(outcome(applied), outcome(expected));
        assert_eq!(format!("{window:?}"), format!("{other:?}"));
    }

    fn batch(&self, by: usize, aim: Aim, records: &[(usize, Kind, i64)]) -> Batch {
        let position = self.memory.position(&self.log_id, 0);
        let (id, epoch, next) = position.map_or((-1, 1, 0), |it| (it.id, it.epoch, it.next_offset));
        let (start, epoch) = match aim {
            Aim::BesideIt(by) => (next + by, epoch),
            Aim::OtherEpoch => (next, epoch + 1),
            Aim::AtThePosition | Aim::Again => (next, epoch),
        };
        let mut orders: BTreeMap<String, SourcedOrder> = BTreeMap::new();
        let (mut dead_letters, mut gaps) = (Vec::new(), Vec::new());
        for (offset, (number, kind, accepted_s)) in (start..).zip(records) {
            let uid = self.uid(*number);
            match kind {
                Kind::Hole => gaps.push(hole(offset, Some(offset + 1))),
                Kind::Dead => dead_letters.push(dead(offset, &uid)),
                Kind::Good | Kind::Rejected => {
                    let is_rejected = matches!(kind, Kind::Rejected);
                    let mut order = sourced(&uid, offset, *accepted_s, is_rejected);
                    order.supersedes = orders.contains_key(&uid);
                    orders.insert(uid, order);
                }
            }
        }
        let end = start + records.len() as i64;
        Batch {
            position_id: id,
            owner: self.owners[by].claim.owner,
            epoch,
            topic: "orders".into(),
            partition: 0,
            start,
            end,
            last_applied: (gaps.len() < records.len()).then(|| LastApplied {
                offset: end - 1,
                digest: [end as u8; 32],
            }),
            orders: orders.into_values().collect(),
            dead_letters,
            gaps,
        }
    }

    fn read(&mut self, by: usize) {
        let claim = &self.owners[by].claim;
        let holder = self.store.holder(claim).expect("the store answers");
        assert_eq!(
            holder.map(|holder| holder.group),
            self.memory.holder(claim).map(|holder| holder.group)
        );
        let position = self.store.position(&self.log_id, 0);
        let position = position.expect("the store answers");
        assert_eq!(
            known(position),
            known(self.memory.position(&self.log_id, 0))
        );
        let uids: Vec<String> = (0..UIDS).map(|number| self.uid(number)).collect();
        let asked: Vec<&str> = uids.iter().map(String::as_str).collect();
        let found = self.store.lookup(&self.log_id, &asked);
        let found = found.expect("the store answers").results;
        let expected = asked
            .iter()
            .map(|uid| self.memory.lookup(&self.log_id, uid));
        assert_eq!(
            format!("{found:#?}"),
            format!("{:#?}", expected.collect::<Vec<_>>())
        );
    }

    /// Gaps and dead letters, which no method of the trait returns.
    fn compare_dead_letters_and_gaps(&self, db: &mut Db, dialect: Dialect) {
        let of_this = format!(
            "position_id IN (SELECT id FROM log_positions WHERE log_id = '{}')",
            self.log_id
        );
        let gaps = db.text(&format!(
            "SELECT epoch, from_offset, to_offset FROM log_gaps WHERE {of_this} ORDER BY id"
        ));
        let expected = self.memory.gaps.iter().map(|(_, epoch, gap)| {
            let to = gap.to.map(|to| to.to_string()).unwrap_or_default();
            format!("{epoch}|{}|{to}", gap.from)
        });
        assert_eq!(gaps, expected.collect::<Vec<_>>().join("\n"));
        let payload = match dialect {
            Dialect::Postgres => "convert_from(payload, 'UTF8')",
            Dialect::Sqlite => "CAST(payload AS TEXT)",
        };
        let dead = db.text(&format!(
            "SELECT epoch, \"offset\", order_uid, {payload} FROM dead_letters
             WHERE {of_this} ORDER BY id"
        ));
        let expected = self.memory.dead_letters.iter().map(|dead| {
            let letter = &dead.letter;
            let payload = letter.payload.as_deref().unwrap_or_default();
            let payload = std::str::from_utf8(payload).expect("it was written as text");
            let uid = letter.order_uid.as_deref().unwrap_or_default();
            format!("{}|{}|{uid}|{payload}", dead.epoch, letter.offset)
        });
        assert_eq!(dead, expected.collect::<Vec<_>>().join("\n"));
    }
}

fn hole(from: i64, to: Option<i64>) -> Gap {
    Gap {
        from,
        to,
        reason: "a hole".into(),
    }
}

fn dead(offset: i64, uid: &str) -> DeadLetter {
    DeadLetter {
        offset,
        key: None,
        payload: Some(Bytes::from_static(b"{")),
        accepted_at_us: 1,
        order_uid: Some(uid.into()),
        reason: "it is not JSON".into(),
    }
}

fn sourced(uid: &str, offset: i64, accepted_s: i64, is_rejected: bool) -> SourcedOrder {
    let mut order = order_version(uid, u32::try_from(offset.max(0) + 1).expect("it is small"));
    if is_rejected {
        order["entry"] = json!(REJECTED_ENTRY);
    }
    SourcedOrder {
        order: Order::decode(order.to_string().as_bytes()).expect("the order is valid"),
        offset,
        accepted_at_us: accepted_s * 1_000_000,
        supersedes: false,
    }
}

type Known = (TopicId, i32, i64, Option<LastApplied>);

fn known(position: Option<Position>) -> Option<Known> {
    position.map(|it| (it.topic_id, it.epoch, it.next_offset, it.last_applied))
}

fn kind(error: &StoreError) -> String {
    match error {
        StoreError::Fenced(holder) => {
            format!("fenced by {:?}", holder.as_ref().map(|it| &it.group))
        }
        StoreError::Unavailable(_) => "unavailable".into(),
        StoreError::Contended(_) => "contended".into(),
        StoreError::Rejected(_) => "rejected".into(),
        StoreError::Misconfigured(_) => "misconfigured".into(),
    }
}

fn outcome(applied: Result<Applied, StoreError>) -> Result<(Vec<i64>, usize, bool), String> {
    let applied = applied.map_err(|error| kind(&error))?;
    let rejected = applied.rejected.iter().map(|(offset, _)| *offset).collect();
    Ok((rejected, applied.outdated, applied.already_applied))
}

#[test]
fn the_in_memory_store_behaves_like_postgresql() {
    compare(&Database::postgres());
}

#[test]
fn the_in_memory_store_behaves_like_sqlite() {
    compare(&Database::sqlite());
}

fn compare(database: &Database) {
    database.reject_entry(REJECTED_ENTRY);
    let (store, db) = (database.store(), database.db());
    let (store, db, cases) = (RefCell::new(store), RefCell::new(db), Cell::new(0));
    replayable::check(60, vec((0..3_usize, step()), 1..25), |steps| {
        cases.set(cases.get() + 1);
        let log_id = format!("log-{}", cases.get());
        let mut store = store.borrow_mut();
        let owner = |number: usize| Owner {
            claim: Claim {
                log_id: log_id.clone(),
                partition: 0,
                owner: Uuid::new_v4(),
                group: format!("group-{number}"),
                host: "host".into(),
            },
            windows: Default::default(),
            last: None,
        };
        let mut pair = Pair {
            store: &mut **store,
            memory: Tables::default(),
            owners: (0..3).map(owner).collect(),
            log_id: log_id.clone(),
        };
        for (by, step) in steps {
            pair.run(by, step);
        }
        pair.read(0);
        pair.compare_dead_letters_and_gaps(&mut db.borrow_mut(), database.dialect);
    });
}
