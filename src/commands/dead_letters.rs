//! `orders dead-letters`: what was refused, and why; repairs it.
//!
//! Dead letters are never deleted by a repair: they are resolved, with who, when and why. Only
//! `prune` deletes, and only resolved ones.

use regex_lite::Regex;

use crate::commands::{Context, connect, open};
use crate::config::{EngineArgs, time};
use crate::exit::Exit;
use crate::operations::dead_letters::Selection;
use crate::order::Timestamp;
use crate::store::OperatorStore;
use crate::store::operator::dead_letters::{DeadLetterFilter, DeadLetterState};

mod attempts;
mod discard;
mod edit;
mod list;
mod mended;
mod payload;
mod prune;
mod retry;
mod select;
mod show;

const EXAMPLES: &str = "\
Examples:
  orders dead-letters                          by reason
  orders dead-letters list --each --since -1h  one a line
  orders dead-letters show 17                  everything known, the fault named
  orders dead-letters retry --reason 'sm_id'   after the rules were changed
  orders dead-letters retry --file mended.ndjson
  orders dead-letters edit 17                  mend it in $EDITOR
  orders dead-letters discard 17 18 --why 'test data'
  orders dead-letters prune --resolved-before -90d";

/// The arguments of `orders dead-letters`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    list: list::Args,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List them by reason (the default), or each
    List(list::Args),
    /// Print everything known of one
    Show(show::Args),
    /// Decode them again, or mended orders in their place, and store them
    Retry(retry::Args),
    /// Mend one in an editor, and store it
    Edit(edit::Args),
    /// Give them up without storing anything
    Discard(discard::Args),
    /// Delete resolved ones
    Prune(prune::Args),
}

/// Which dead letters, by what they are.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Filters")]
struct FilterArgs {
    /// Only those whose reason matches a regular expression
    #[arg(long, value_name = "RE", value_parser = regex)]
    reason: Option<Regex>,

    /// Only those dead since: 2026-11-27, 2026-11-27T08:00:00Z or -1h
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    since: Option<Timestamp>,

    /// Only those dead before
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    until: Option<Timestamp>,

    /// Only those of this order
    #[arg(long, value_name = "UID")]
    uid: Option<String>,

    /// Only those whose record has this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// Only those of this partition
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
}

impl FilterArgs {
    /// Whether none is given.
    fn is_empty(&self) -> bool {
        let times = [self.since, self.until];
        let texts = [&self.uid, &self.key];
        self.reason.is_none()
            && self.partition.is_none()
            && times.iter().all(Option::is_none)
            && texts.iter().all(|it| it.is_none())
    }

    fn selection(&self, state: DeadLetterState) -> Selection {
        Selection {
            filter: DeadLetterFilter {
                state,
                since: self.since,
                until: self.until,
                order_uid: self.uid.clone(),
                key: self.key.clone().map(String::into_bytes),
                partition: self.partition,
            },
            reason: self.reason.clone(),
        }
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("`{text}` is not a regular expression: {error}"))
}

/// Runs the subcommand.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        None => list::run(&args.list, context),
        Some(Command::List(args)) => list::run(&args, context),
        Some(Command::Show(args)) => show::run(&args, context),
        Some(Command::Retry(args)) => retry::run(&args, context),
        Some(Command::Edit(args)) => edit::run(&args, context),
        Some(Command::Discard(args)) => discard::run(&args, context),
        Some(Command::Prune(args)) => prune::run(&args, context),
    }
}

/// The database, for a command that changes something.
fn open_store(engines: &EngineArgs, context: &Context) -> anyhow::Result<Box<dyn OperatorStore>> {
    let wait = connect::wait(None, false);
    open::operator(&engines.store()?, wait, context)
}

/// The database, for a command that changes nothing: one attempt.
fn open_to_look(engines: &EngineArgs, context: &Context) -> anyhow::Result<Box<dyn OperatorStore>> {
    let wait = connect::wait(None, true);
    open::operator(&engines.store()?, wait, context)
}
