//! The dead letters that a command changes: by id, by filter, or all open ones.

use std::ops::ControlFlow;

use super::FilterArgs;
use crate::exit::Failure;
use crate::operations::dead_letters;
use crate::store::OperatorStore;
use crate::store::operator::dead_letters::DeadLetterState;

/// How many dead letters one run changes.
const MAX_IDS: usize = 1_000_000;

/// The ids, a filter, or `--all`: exactly one of them.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct SelectArgs {
    /// Their ids, as `list` prints them
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<i64>,

    /// All open ones
    #[arg(long, conflicts_with = "ids")]
    all: bool,

    #[command(flatten)]
    filters: FilterArgs,
}

impl SelectArgs {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && !self.all && self.filters.is_empty()
    }

    /// The ids of what is meant; those of a filter are of open dead letters.
    pub(super) fn find(&self, store: &mut dyn OperatorStore) -> anyhow::Result<Vec<i64>> {
        if !self.ids.is_empty() {
            if !self.filters.is_empty() {
                let message = "give ids or filters, not both";
                return Err(Failure::usage(message).into());
            }
            let mut ids = self.ids.clone();
            ids.sort_unstable();
            ids.dedup();
            return Ok(ids);
        }
        if self.is_empty() {
            let message = "which dead letters?";
            let hint = "give their ids, a filter such as --reason, or --all";
            return Err(Failure::usage(message).hint(hint).into());
        }
        let selection = self.filters.selection(DeadLetterState::Open);
        let mut ids = Vec::new();
        dead_letters::for_each(store, &selection, &mut |letter| {
            ids.push(letter.id);
            match ids.len() < MAX_IDS {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        Ok(ids)
    }
}
