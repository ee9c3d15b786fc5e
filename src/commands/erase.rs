//! `orders erase`: a customer wants to be forgotten.
//!
//! Removes the order and what its dead letters hold, leaves a marker by which its records are never
//! stored again, and has every API forget it. What it cannot remove it names.

use anyhow::Context as _;
use serde_json::json;

use crate::commands::confirm::confirm;
use crate::commands::{Context, connect, open};
use crate::config::EngineArgs;
use crate::event_log::sqlite::Reach;
use crate::exit::{Exit, Failure};
use crate::operations::actor::actor;
use crate::operations::forget::forget;
use crate::store::{Change, ErasedOrder, LookupResult, StoreEngine};

const EXAMPLES: &str = "\
Examples:
  orders erase b563feb7b2b84b6test --why \"ticket 4711\"
  orders erase b563feb7b2b84b6test --why \"ticket 4711\" --dry-run

Nothing brings the order back: neither a replay, nor a retry of a dead letter, nor
a record that was accepted before and comes late. An order of the same uid that is
posted after it is a new order. Its records stay in the log until retention deletes
them, and in backups; `orders erase` says so.";

/// The arguments of `orders erase`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The uid of the order
    #[arg(value_name = "UID")]
    order_uid: String,

    /// Why, kept with who and when: without personal data
    #[arg(long, value_name = "TEXT")]
    why: String,

    /// Say what would be erased, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    engines: EngineArgs,
}

/// Erases an order. [`Exit::CheckFailed`] when nothing of it was there, [`Exit::TimedOut`] when the APIs
/// could not be told.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let log_settings = args.engines.log()?;
    let store_settings = args.engines.store()?;
    let uid = &args.order_uid;
    if uid.is_empty() {
        return Err(Failure::usage("the uid is empty").into());
    }
    let wait = connect::wait(None, true);
    let mut store = open::operator(&store_settings, wait, context)?;
    if args.dry_run {
        let engine = open::store(&store_settings, context)?;
        return dry_run(&*engine, uid, context);
    }
    if !confirm(
        &format!("erase the order `{uid}` for good"),
        args.yes,
        context,
    )? {
        return Ok(Exit::Done);
    }
    let change = Change {
        by: &actor(),
        why: &args.why,
    };
    let erased = store
        .erase(uid, &change)
        .with_context(|| format!("erasing the order `{uid}`"))?;
    // After the commit: an API that reads the record looks the order up again.
    let log = open::log(&log_settings, Reach::OtherProcesses, None)?;
    let told = forget(&*log, &log_settings.topics.found, uid);
    report(uid, &erased, told.is_ok(), context)?;
    if let Err(error) = told {
        let message =
            format!("the order `{uid}` is erased, and the APIs could not be told: {error}");
        let hint = "run it again when the log responds; until then an API may serve what its cache \
                    holds, for CACHE_TTL_SECONDS";
        return Err(Failure::new(Exit::TimedOut, message).hint(hint).into());
    }
    context.output.info(&format!(
        "its records stay in topic `{}` until retention deletes them, and in backups",
        log_settings.topics.orders
    ));
    Ok(match erased.was_stored || erased.dead_letters > 0 {
        true => Exit::Done,
        false => Exit::CheckFailed,
    })
}

fn dry_run(engine: &dyn StoreEngine, uid: &str, context: &Context) -> anyhow::Result<Exit> {
    let found = engine.connect()?.lookup("", &[uid])?.results.pop();
    let (text, exit) = match found {
        Some(LookupResult::Stored(_)) => ("is stored and would be erased", Exit::Done),
        Some(LookupResult::DeadLettered { .. }) => {
            ("is a dead letter, which would be emptied", Exit::Done)
        }
        Some(LookupResult::Absent) | None => (
            "is not stored; its records in the log would not be stored any more",
            Exit::CheckFailed,
        ),
    };
    let output = &context.output;
    output.info(&format!("the order `{uid}` {text}; nothing was changed"));
    Ok(exit)
}

fn report(
    uid: &str,
    erased: &ErasedOrder,
    apis_told: bool,
    context: &Context,
) -> anyhow::Result<()> {
    let output = &context.output;
    let until = erased.erased_until.to_string();
    if output.is_json() {
        return output.json(&json!({
            "order_uid": uid,
            "was_stored": erased.was_stored,
            "dead_letters": erased.dead_letters,
            "erased_until": until,
            "apis_told": apis_told,
        }));
    }
    let stored = match erased.was_stored {
        true => "removed",
        false => "was not stored",
    };
    let rows = [
        ["order", uid],
        ["row", stored],
        ["dead letters emptied", &erased.dead_letters.to_string()],
        ["records stay out that were accepted until", &until],
    ];
    output.table(
        &["erased", ""],
        rows.map(|row| row.map(str::to_owned).to_vec()),
    )
}
