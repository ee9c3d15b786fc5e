//! `orders dead-letters discard`: gives dead letters up.

use super::attempts::Attempts;
use super::open_store;
use super::select::SelectArgs;
use crate::commands::Context;
use crate::commands::confirm::confirm;
use crate::config::EngineArgs;
use crate::exit::Exit;
use crate::operations::actor::actor;
use crate::operations::dead_letters;
use crate::store::Change;
use crate::store::operator::dead_letters::Mode;

const EXAMPLES: &str = "\
Examples:
  orders dead-letters discard 17 18 --why 'test data'
  orders dead-letters discard --uid a --why 'sent again as b' --yes";

/// The arguments of `orders dead-letters discard`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    select: SelectArgs,

    /// Why, kept with who and when
    #[arg(long, value_name = "TEXT")]
    why: String,

    /// Show what would happen, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    engines: EngineArgs,
}

/// Resolves the dead letters as discarded. [`Exit::Failed`] when one is not there.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut store = open_store(&args.engines, context)?;
    let ids = args.select.find(&mut *store)?;
    let question = format!("discard {} dead letter(s)", ids.len());
    if !ids.is_empty() && !args.dry_run && !confirm(&question, args.yes, context)? {
        return Ok(Exit::Done);
    }
    let by = actor();
    let change = Change {
        by: &by,
        why: &args.why,
    };
    let mode = match args.dry_run {
        true => Mode::DryRun,
        false => Mode::Commit,
    };
    let mut attempts = Attempts::default();
    for id in ids {
        attempts.add(
            Some(id),
            dead_letters::discard(&mut *store, id, &change, mode)?,
        );
    }
    attempts.report(args.dry_run, context)
}
