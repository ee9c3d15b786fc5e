//! What must be in the store, as a simple map: for each epoch, which record was at each offset that
//! the position has passed.
//!
//! It follows the position alone and reads in the log what was there, never in a batch. What the store
//! holds is compared with it after every change. A restored database restores it too.

use std::collections::{BTreeMap, BTreeSet};

use super::log::{Content, Fact, Log};
use crate::consumer::acquire::AcceptedGap;
use crate::store::memory::Tables;
use crate::store::{Gap, Position};

/// See the module's head.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The lane that acquired the position last.
    pub owner: u64,
    pub position: Option<Position>,
    passed: BTreeMap<(i32, i64), Fact>,
    /// Those of them that could be stored, the winning ones last.
    good: BTreeSet<Version<'static>>,
    dead: BTreeSet<(i32, i64)>,
}

impl Ledger {
    /// A batch was committed: the position moved from where the ledger has it to `to`. `delivered`
    /// is what the log delivered to that lane.
    pub fn applied(
        &mut self,
        to: &Position,
        delivered: &BTreeMap<i64, Fact>,
        log: &Log,
        gaps: &[&Gap],
        refusing: bool,
    ) {
        let from = self.position.take().expect("a batch moves a position");
        assert_eq!((from.id, from.epoch), (to.id, to.epoch));
        assert!(from.next_offset <= to.next_offset, "the position went back");
        let is_superseded = |uid: &str, offset: i64| {
            delivered
                .range(offset + 1..to.next_offset)
                .any(|(_, fact)| fact.uid() == Some(uid))
        };
        for offset in from.next_offset..to.next_offset {
            let at = (to.epoch, offset);
            let is_gap = gaps.iter().any(|gap| covers(gap, offset));
            let Some(fact) = delivered.get(&offset) else {
                let there = log.readable(&to.topic_id, offset);
                assert!(there.is_none(), "{at:?} was skipped: {there:?}");
                // A single offset is taken for a transaction marker.
                let is_missing = |near: i64| {
                    (from.next_offset..to.next_offset).contains(&near)
                        && !delivered.contains_key(&near)
                };
                let is_single = !is_missing(offset - 1) && !is_missing(offset + 1);
                assert!(is_gap || is_single, "{at:?} is not accounted for");
                continue;
            };
            assert!(!is_gap, "{at:?} was delivered and is called a gap");
            self.passed.insert(at, fact.clone());
            match fact.content {
                Content::Order {
                    uid,
                    version,
                    refusable,
                } if !(refusable && refusing) => {
                    let accepted_at_us = fact.record.accepted_at_us();
                    self.good
                        .insert((uid, to.epoch, offset, version, accepted_at_us));
                }
                // A newer version in the same batch supersedes it.
                Content::Order { uid, .. } if is_superseded(uid, offset) => {}
                Content::Order { .. } | Content::Broken => {
                    self.dead.insert(at);
                }
            }
        }
        self.position = Some(to.clone());
    }

    /// An acquisition committed where reading starts.
    pub fn started(&mut self, to: &Position, log: &Log, gaps: &[&Gap], accepted: &[AcceptedGap]) {
        let Some(from) = self.position.replace(to.clone()) else {
            assert_eq!((to.epoch, gaps.len()), (1, 0));
            // The topic may have been recreated since it was asked.
            let is_current = to.topic_id == *log.topic_id();
            assert!(
                !is_current || to.next_offset <= log.low(),
                "records were left out"
            );
            return;
        };
        if to.epoch == from.epoch {
            for offset in from.next_offset..to.next_offset {
                let there = log.readable(&to.topic_id, offset);
                assert!(there.is_none(), "offset {offset} could still be read");
                assert!(gaps.iter().any(|gap| covers(gap, offset)));
                let is_named = |gap: &AcceptedGap| (gap.from..=gap.to).contains(&offset);
                assert!(
                    accepted.iter().any(is_named),
                    "no operator accepted that {offset} is lost"
                );
            }
            assert!(from.next_offset <= to.next_offset, "the position went back");
            return;
        }
        assert_eq!(to.epoch, from.epoch + 1);
        let open = |gap: &&Gap| gap.from == from.next_offset && gap.to.is_none();
        assert!(gaps.iter().any(open), "a new epoch without a gap row");
        assert!(log.has_changed(), "a new epoch for no reason");
    }

    /// Whether every record that can be read is accounted for.
    pub fn covers(&self, log: &Log) -> bool {
        let Some(position) = &self.position else {
            return false;
        };
        let is_passed =
            |fact: &Fact| self.passed.get(&(position.epoch, fact.record.offset)) == Some(fact);
        position.topic_id == *log.topic_id() && log.records().all(is_passed)
    }

    /// The store holds what it must, and nothing else.
    pub fn check(&self, tables: &Tables) {
        let position = tables.positions.first().map(|held| &held.position);
        assert_eq!(position, self.position.as_ref(), "the position");
        let stored: BTreeSet<Version> = tables
            .orders
            .iter()
            .map(|(uid, row)| {
                let version = row
                    .order
                    .track_number
                    .parse()
                    .expect("it holds the version");
                (
                    uid.as_str(),
                    row.epoch,
                    row.offset,
                    version,
                    row.accepted_at_us,
                )
            })
            .collect();
        assert_eq!(stored, self.newest(), "the orders");
        let dead: BTreeSet<(i32, i64)> = tables
            .dead_letters
            .iter()
            .map(|dead| (dead.epoch, dead.letter.offset))
            .collect();
        assert_eq!(dead, self.dead, "the dead letters");
    }

    /// The newest version of each uid: inside an epoch the offset decides, between two of them the
    /// accept time.
    fn newest(&self) -> BTreeSet<Version<'_>> {
        let mut of_epochs = BTreeMap::new();
        for version @ (uid, epoch, ..) in &self.good {
            of_epochs.insert((*uid, *epoch), *version);
        }
        let mut newest: BTreeMap<&str, Version> = BTreeMap::new();
        for ((uid, _), version) in of_epochs {
            let held = newest.entry(uid).or_insert(version);
            if version.4 >= held.4 {
                *held = version;
            }
        }
        newest.into_values().collect()
    }
}

/// Uid, epoch, offset, version, accept time.
type Version<'u> = (&'u str, i32, i64, u32, i64);

fn covers(gap: &Gap, offset: i64) -> bool {
    gap.from <= offset && gap.to.is_some_and(|to| offset < to)
}
