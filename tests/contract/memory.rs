//! The in-memory store behaves like the real engines: both get the same calls, and every result and
//! their contents at the end are compared.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use orders::order::Order;
use orders::pipeline::{LastApplied, TopicId};
use orders::store::memory::Tables;
use orders::store::{
    Applied, Batch, Claim, LookupResult, OrderStore, Position, RejectionWindow, SourcedOrder,
    StartDecision, StoreError,
};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{Db, replayable};

use crate::contract::owner::{claim, dead, hole, sourced};
use crate::contract::stores::Database;

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

/// Where a batch starts.
#[derive(Clone, Copy, Debug)]
enum Start {
    AtThePosition,
    OffBy(i64),
    OtherEpoch,
    /// The owner's last batch is applied again.
    Repeated,
}

#[derive(Clone, Debug)]
enum Step {
    Acquire,
    CommitStart {
        /// So far from the position it was decided.
        off: i64,
        epochs: i32,
        moves: i64,
        gap: bool,
    },
    Apply(Start, Vec<(usize, Kind, i64)>),
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        8 => Just(Kind::Good),
        1 => Just(Kind::Rejected),
        1 => Just(Kind::Dead),
        1 => Just(Kind::Hole),
    ];
    let start = prop_oneof![
        6 => Just(Start::AtThePosition),
        1 => (-2..3_i64).prop_map(Start::OffBy),
        1 => Just(Start::OtherEpoch),
        2 => Just(Start::Repeated),
    ];
    let records = vec((0..UIDS, kind, 0..6_i64), 0..6);
    prop_oneof![
        2 => Just(Step::Acquire),
        2 => (prop_oneof![4 => Just(0), 1 => -2..3_i64], 0..2_i32, -4..3_i64, any::<bool>()).prop_map(
            |(off, epochs, moves, gap)| Step::CommitStart { off, epochs, moves, gap },
        ),
        6 => (start, records).prop_map(|(start, records)| Step::Apply(start, records)),
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
                let acquired = self.store.acquire(claim).expect("the store responds");
                assert_eq!(known(acquired), known(self.memory.acquire(claim)));
            }
            Step::CommitStart {
                off,
                epochs,
                moves,
                gap,
            } => self.commit_start(by, off, (epochs, moves), gap),
            Step::Apply(start, records) => self.apply(by, start, &records),
            Step::Read => self.read(by),
        }
    }

    fn commit_start(&mut self, by: usize, off: i64, (epochs, moves): (i32, i64), gap: bool) {
        let claim = self.owners[by].claim.clone();
        let position = self.memory.position(&self.log_id, 0);
        let is_known = position.is_some() || off != 0;
        let (epoch, next) = position.map_or((0, 0), |it| (it.epoch, it.next_offset));
        let decision = StartDecision {
            from: is_known.then_some((epoch, next + off)),
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

    fn apply(&mut self, by: usize, start: Start, records: &[(usize, Kind, i64)]) {
        let mut batch = match start {
            Start::Repeated => match self.owners[by].last.clone() {
                Some(last) => last,
                None => return,
            },
            start => self.batch(by, start, records),
        };
        self.owners[by].last = Some(batch.clone());
        let rejects = |order: &Order| order.entry == REJECTED_ENTRY;
        let [window, other] = &mut self.owners[by].windows;
        // Each numbers its positions separately.
        let position = self.memory.position(&self.log_id, 0);
        batch.position_id = position.map_or(-1, |position| position.id);
        let expected = self.memory.apply(&batch, other, rejects);
        let position = self.store.position(&self.log_id, 0);
        let position = position.expect("the store responds");
        batch.position_id = position.map_or(-1, |position| position.id);
        let applied = self.store.apply(&batch, window);
        assert_eq!(outcome(applied), outcome(expected));
        assert_eq!(format!("{window:?}"), format!("{other:?}"));
    }

    fn batch(&self, by: usize, start: Start, records: &[(usize, Kind, i64)]) -> Batch {
        let position = self.memory.position(&self.log_id, 0);
        let (id, epoch, next) = position.map_or((-1, 1, 0), |it| (it.id, it.epoch, it.next_offset));
        let (start, epoch) = match start {
            Start::OffBy(by) => (next + by, epoch),
            Start::OtherEpoch => (next, epoch + 1),
            Start::AtThePosition | Start::Repeated => (next, epoch),
        };
        let mut orders: BTreeMap<String, SourcedOrder> = BTreeMap::new();
        let (mut dead_letters, mut gaps) = (Vec::new(), Vec::new());
        for (offset, (number, kind, accepted_s)) in (start..).zip(records) {
            let uid = self.uid(*number);
            match kind {
                Kind::Hole => gaps.push(hole(offset, Some(offset + 1))),
                Kind::Dead => dead_letters.push(dead(offset, Some(&uid))),
                Kind::Good | Kind::Rejected => {
                    let version = u32::try_from(offset.max(0) + 1).expect("it is small");
                    let mut sourced = sourced(&uid, version, offset, *accepted_s);
                    if matches!(kind, Kind::Rejected) {
                        sourced.order.entry = REJECTED_ENTRY.into();
                    }
                    sourced.supersedes = orders.contains_key(&uid);
                    orders.insert(uid, sourced);
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
        let holder = self.store.holder(claim).expect("the store responds");
        assert_eq!(
            holder.map(|holder| holder.group),
            self.memory.holder(claim).map(|holder| holder.group)
        );
        let position = self.store.position(&self.log_id, 0);
        let position = position.expect("the store responds");
        assert_eq!(
            known(position),
            known(self.memory.position(&self.log_id, 0))
        );
        let uids: Vec<String> = (0..UIDS).map(|number| self.uid(number)).collect();
        let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
        let found = self.store.lookup(&self.log_id, &uids);
        let found = found.expect("the store responds").results;
        let in_memory = |uid: &&str| self.memory.lookup(&self.log_id, uid);
        let expected: Vec<_> = uids.iter().map(in_memory).collect();
        let comparable = |results| format!("{:#?}", Vec::from_iter(results));
        assert_eq!(
            comparable(found.into_iter().map(without_reason)),
            comparable(expected.into_iter().map(without_reason))
        );
    }

    /// Gaps and dead letters, which no method of the trait returns.
    fn compare_dead_letters_and_gaps(&self, db: &mut Db) {
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
        let dead = db.text(&format!(
            "SELECT epoch, \"offset\", order_uid, payload FROM dead_letters
             WHERE {of_this} ORDER BY id"
        ));
        let expected = self.memory.dead_letters.iter().map(|dead| {
            let letter = &dead.letter;
            let payload = letter.payload.iter().flatten();
            let payload: String = payload.map(|byte| format!("{byte:02x}")).collect();
            let uid = letter.order_uid.as_deref().unwrap_or_default();
            format!("{}|{}|{uid}|\\x{payload}", dead.epoch, letter.offset)
        });
        assert_eq!(dead, expected.collect::<Vec<_>>().join("\n"));
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

/// Each database words a rejection in its own way.
fn without_reason(mut result: LookupResult) -> LookupResult {
    if let LookupResult::DeadLettered { reason, .. } = &mut result {
        reason.clear();
    }
    result
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
                group: format!("group-{number}"),
                ..claim()
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
        pair.compare_dead_letters_and_gaps(&mut db.borrow_mut());
    });
}
