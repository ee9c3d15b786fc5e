//! What operators see of dead letters, and how each is retried.
//!
//! # Invariants
//!
//! Memory does not grow with the number of dead letters: lists are read in pages, groups are bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use regex_lite::Regex;

use crate::order::{Order, Timestamp};
use crate::store::operator::dead_letters::{
    DeadLetterFilter, DeadLetterSummary, DeadLetters, FoundDeadLetter, Mode, Outcome, Resolution,
};
use crate::store::{Change, OperatorStore, StoreError};

/// How many different reasons are grouped; dead letters of others are counted.
pub const MAX_GROUPS: usize = 1_000;

/// How many ids a group holds, the lowest ones; all are counted.
pub const MAX_IDS: usize = 1_000;

/// How many dead letters are read at once, without their payloads.
const PAGE: u32 = 1_000;

/// Which dead letters are meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub filter: DeadLetterFilter,
    /// What the reason must match.
    pub reason: Option<Regex>,
}

impl Selection {
    fn matches(&self, reason: &str) -> bool {
        self.reason.as_ref().is_none_or(|it| it.is_match(reason))
    }
}

/// The dead letters of one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub reason: String,
    pub count: u64,
    /// The lowest [`MAX_IDS`].
    pub ids: BTreeSet<i64>,
    pub newest: Timestamp,
}

/// Dead letters by reason.
#[derive(Debug, Default)]
pub struct Groups {
    /// The largest first.
    pub groups: Vec<Group>,
    /// How many dead letters have reasons beyond [`MAX_GROUPS`].
    pub left_out: u64,
}

/// Groups the selected dead letters by reason.
pub fn group(store: &mut dyn OperatorStore, selection: &Selection) -> Result<Groups, StoreError> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut left_out = 0;
    store.for_each_reason(&selection.filter, &mut |found| {
        if !selection.matches(&found.reason) {
            return ControlFlow::Continue(());
        }
        if let Some(group) = groups.get_mut(&found.reason) {
            group.count += 1;
            group.newest.0 = group.newest.0.max(found.dead_at.0);
            group.ids.insert(found.id);
            if group.ids.len() > MAX_IDS {
                group.ids.pop_last();
            }
        } else if groups.len() < MAX_GROUPS {
            let group = Group {
                reason: found.reason.clone(),
                count: 1,
                ids: BTreeSet::from([found.id]),
                newest: found.dead_at,
            };
            groups.insert(found.reason, group);
        } else {
            left_out += 1;
        }
        ControlFlow::Continue(())
    })?;
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|one, other| {
        let newest = other.newest.0.cmp(&one.newest.0);
        other.count.cmp(&one.count).then(newest)
    });
    Ok(Groups { groups, left_out })
}

/// Visits the selected dead letters, by id, until `visit` breaks.
pub fn for_each(
    store: &mut dyn OperatorStore,
    selection: &Selection,
    visit: &mut dyn FnMut(DeadLetterSummary) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut after = i64::MIN;
    loop {
        let page = store.dead_letters(&selection.filter, after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.id;
        let is_last = page.len() < PAGE as usize;
        for summary in page {
            if selection.matches(&summary.reason) && visit(summary).is_break() {
                return Ok(());
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// What became of one dead letter that an operator wanted to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Resolved {
        resolution: Resolution,
        /// The order that is stored, or is not.
        order_uid: Option<String>,
    },
    /// As somebody has resolved it before.
    AlreadyResolved(String),
    /// It stays open, and why.
    Refused {
        order_uid: Option<String>,
        reason: String,
    },
}

impl Attempt {
    /// In lists: `retried`, `outdated`, `discarded`, `erased`, `refused`, or `already …`.
    pub fn name(&self) -> String {
        match self {
            Attempt::Resolved { resolution, .. } => resolution.name().to_owned(),
            Attempt::AlreadyResolved(resolution) => format!("already {resolution}"),
            Attempt::Refused { .. } => "refused".to_owned(),
        }
    }

    fn refused(reason: impl Into<String>) -> Attempt {
        Attempt::Refused {
            order_uid: None,
            reason: reason.into(),
        }
    }

    fn of(outcome: Outcome, order_uid: Option<String>) -> Attempt {
        match outcome {
            Outcome::Resolved(resolution) => Attempt::Resolved {
                resolution,
                order_uid,
            },
            Outcome::AlreadyResolved(resolution) => Attempt::AlreadyResolved(resolution),
            Outcome::Missing => Attempt::missing(),
        }
    }

    pub fn missing() -> Attempt {
        Attempt::refused("there is no such dead letter")
    }
}

/// Decodes the dead letter's payload, or the document that replaces it, by the rules of today, and
/// stores the order as the version that the record is. An error is one of the database.
pub fn retry(
    store: &mut dyn OperatorStore,
    found: &FoundDeadLetter,
    mended: Option<&[u8]>,
    change: &Change<'_>,
    mode: Mode,
) -> Result<Attempt, StoreError> {
    if let Some(resolved) = &found.resolved {
        return Ok(Attempt::AlreadyResolved(resolved.resolution.clone()));
    }
    let document = match mended {
        Some(document) => document,
        None if found.is_head() => {
            let bytes = found.letter.payload_bytes;
            return Ok(Attempt::refused(format!(
                "only the head of its {bytes} bytes is kept: give the whole order with --file"
            )));
        }
        None => found.letter.payload.as_deref().unwrap_or_default(),
    };
    let order = match Order::decode(document) {
        Ok(order) => order,
        Err(refusal) => {
            return Ok(Attempt::Refused {
                reason: refusal.to_string(),
                order_uid: refusal.order_uid,
            });
        }
    };
    let order_uid = Some(order.order_uid.clone());
    match store.retry_dead_letter(found.id, &order, change, mode) {
        Ok(outcome) => Ok(Attempt::of(outcome, order_uid)),
        Err(StoreError::Rejected(why)) => Ok(Attempt::Refused {
            order_uid,
            reason: format!("the database refuses it: {why}"),
        }),
        Err(error) => Err(error),
    }
}

/// Resolves a dead letter without storing anything.
pub fn discard(
    store: &mut dyn OperatorStore,
    id: i64,
    change: &Change<'_>,
    mode: Mode,
) -> Result<Attempt, StoreError> {
    let outcome = store.discard_dead_letter(id, change, mode)?;
    Ok(Attempt::of(outcome, None))
}

/// Deletes the dead letters that were resolved before then, in short transactions; returns their number.
pub fn prune(store: &mut dyn DeadLetters, before: Timestamp) -> Result<u64, StoreError> {
    let mut pruned = 0;
    loop {
        let deleted = store.prune_dead_letters(before, PAGE)?;
        pruned += deleted;
        if deleted < u64::from(PAGE) {
            return Ok(pruned);
        }
    }
}
