//! `orders dead-letters prune`: deletes resolved dead letters.

use serde_json::json;

use super::open_store;
use crate::commands::Context;
use crate::commands::confirm::confirm;
use crate::config::{EngineArgs, time};
use crate::exit::Exit;
use crate::operations::dead_letters;
use crate::order::Timestamp;

const EXAMPLES: &str = "\
Examples:
  orders dead-letters prune --resolved-before -90d --dry-run
  orders dead-letters prune --resolved-before 2026-10-01 --yes

Open dead letters are never deleted.";

/// The arguments of `orders dead-letters prune`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only those resolved before: 2026-11-27, 2026-11-27T08:00:00Z or -90d
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    resolved_before: Timestamp,

    /// Count them, delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    engines: EngineArgs,
}

/// Deletes dead letters that were resolved before the given time.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut store = open_store(&args.engines, context)?;
    let before = args.resolved_before;
    let count = store.count_resolved_before(before)?;
    let question = format!("delete {count} dead letter(s) resolved before {before}");
    let mut deleted = 0;
    if count > 0 && !args.dry_run {
        if !confirm(&question, args.yes, context)? {
            return Ok(Exit::Done);
        }
        deleted = dead_letters::prune(&mut *store, before)?;
    }
    if context.output.is_json() {
        let summary = json!({ "dry_run": args.dry_run, "found": count, "deleted": deleted });
        context.output.json(&summary)?;
    } else if args.dry_run {
        context
            .output
            .info(&format!("would {question}; nothing was deleted"));
    } else {
        context
            .output
            .info(&format!("deleted {deleted} dead letter(s)"));
    }
    Ok(Exit::Done)
}
