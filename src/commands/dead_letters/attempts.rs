//! What became of the dead letters of one run.

use serde_json::{Value, json};

use crate::commands::Context;
use crate::exit::Exit;
use crate::operations::dead_letters::Attempt;

/// How many dead letters are listed; all are counted.
const MAX_LISTED: usize = 1_000;

/// The attempts of one run, so far.
#[derive(Default)]
pub(super) struct Attempts {
    resolved: u64,
    refused: u64,
    listed: Vec<(Option<i64>, Attempt)>,
    left_out: u64,
}

impl Attempts {
    pub(super) fn add(&mut self, id: Option<i64>, attempt: Attempt) {
        match attempt {
            Attempt::Resolved { .. } => self.resolved += 1,
            Attempt::Refused { .. } => self.refused += 1,
            Attempt::AlreadyResolved(_) => {}
        }
        match self.listed.len() < MAX_LISTED {
            true => self.listed.push((id, attempt)),
            false => self.left_out += 1,
        }
    }

    /// Prints them. [`Exit::Failed`] when one was refused.
    pub(super) fn report(&self, is_dry_run: bool, context: &Context) -> anyhow::Result<Exit> {
        let output = &context.output;
        if output.is_json() {
            let listed: Vec<Value> = self.listed.iter().map(document).collect();
            output.json(&json!({
                "dry_run": is_dry_run,
                "resolved": self.resolved,
                "refused": self.refused,
                "dead_letters": listed,
                "left_out": self.left_out,
            }))?;
        } else if !self.listed.is_empty() {
            output.table(
                &["id", "outcome", "order", "reason"],
                self.listed.iter().map(row),
            )?;
        }
        if self.left_out > 0 && !output.is_json() {
            output.info(&format!("{} more are not listed", self.left_out));
        }
        let (resolved, refused) = (self.resolved, self.refused);
        output.info(&match is_dry_run {
            true => format!("{resolved} would be resolved, {refused} refused; nothing was written"),
            false => format!("{resolved} resolved, {refused} refused"),
        });
        Ok(match refused {
            0 => Exit::Done,
            _ => Exit::Failed,
        })
    }
}

fn parts(attempt: &Attempt) -> (Option<&str>, Option<&str>) {
    match attempt {
        Attempt::Resolved { order_uid, .. } => (order_uid.as_deref(), None),
        Attempt::AlreadyResolved(_) => (None, None),
        Attempt::Refused { order_uid, reason } => (order_uid.as_deref(), Some(reason)),
    }
}

fn document((id, attempt): &(Option<i64>, Attempt)) -> Value {
    let (order_uid, reason) = parts(attempt);
    json!({ "id": id, "outcome": attempt.name(), "order_uid": order_uid, "reason": reason })
}

fn row((id, attempt): &(Option<i64>, Attempt)) -> Vec<String> {
    let (order_uid, reason) = parts(attempt);
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    vec![id, attempt.name(), text(order_uid), text(reason)]
}
