//! `orders dead-letters retry`: decodes dead letters by the rules of today, and stores the orders.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

use super::attempts::Attempts;
use super::mended::{self, Mended};
use super::open_store;
use super::select::SelectArgs;
use crate::commands::Context;
use crate::commands::confirm::confirm;
use crate::commands::forgetting::Forgetting;
use crate::config::EngineArgs;
use crate::exit::{Exit, Failure};
use crate::operations::actor::actor;
use crate::operations::dead_letters::{self, Attempt};
use crate::store::operator::dead_letters::{DeadLetterFilter, Mode, Resolution};
use crate::store::{Change, OperatorStore};

const EXAMPLES: &str = "\
Examples:
  orders dead-letters retry 17 18
  orders dead-letters retry --reason 'sm_id' --dry-run
  orders dead-letters retry --all --yes
  orders dead-letters retry --file mended.ndjson      by the uids of the orders
  orders dead-letters retry --file one.json --id 17
  orders dead-letters retry --reason amount --file mended.ndjson     those only

Each order is stored as the version that its record is: when the database has a
newer one, the dead letter is resolved as `outdated`. One that is refused again
stays open, and the exit code is 1. Every API forgets what it had cached.";

/// How many open dead letters of one order are retried with a mended one.
const MAX_OF_ORDER: u32 = 1_000;

/// The arguments of `orders dead-letters retry`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    select: SelectArgs,

    /// Mended orders: one, an array, or one a line; each takes the place of its dead letters' payloads
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ids", "all"])]
    file: Option<PathBuf>,

    /// The dead letter of the one order in the file
    #[arg(long, value_name = "ID", requires = "file")]
    id: Option<i64>,

    /// Why, kept with who and when
    #[arg(long, value_name = "TEXT", default_value = "")]
    #[arg(hide_default_value = true)]
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

/// Retries the dead letters. [`Exit::Failed`] when one is refused again.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let log = args.engines.log()?;
    let mut store = open_store(&args.engines, context)?;
    let mut attempts = Attempts::default();
    let planned: Vec<Planned> = match &args.file {
        None => {
            let ids = args.select.find(&mut *store)?.into_iter();
            ids.map(|id| Planned { id, mended: None }).collect()
        }
        Some(file) => {
            let mended = mended::read(file)?;
            let mut planned = plan(mended, args.id, &mut *store, &mut attempts)?;
            if !args.select.is_empty() {
                let selected: BTreeSet<i64> = args.select.find(&mut *store)?.into_iter().collect();
                planned.retain(|planned| selected.contains(&planned.id));
            }
            planned
        }
    };
    let question = format!("retry {} dead letter(s)", planned.len());
    if !planned.is_empty() && !args.dry_run && !confirm(&question, args.yes, context)? {
        return Ok(Exit::Done);
    }
    let mut forgetting = match args.dry_run {
        true => None,
        false => Some(Forgetting::open(&log)?),
    };
    for Planned { id, mended } in planned {
        let mended = mended.as_ref().map(|mended| &*mended.document);
        let attempt = retry(id, mended, &args.why, &mut *store, forgetting.as_mut())?;
        attempts.add(Some(id), attempt);
    }
    if let Some(forgetting) = forgetting {
        forgetting.report(context);
    }
    attempts.report(args.dry_run, context)
}

/// A dead letter to retry, with the order that takes the place of its payload.
struct Planned {
    id: i64,
    mended: Option<Rc<Mended>>,
}

/// The dead letters of mended orders: the one with this id, or the open ones of each order.
fn plan(
    mended: Vec<Mended>,
    id: Option<i64>,
    store: &mut dyn OperatorStore,
    attempts: &mut Attempts,
) -> anyhow::Result<Vec<Planned>> {
    if let Some(id) = id {
        let Ok([mended]) = <[Mended; 1]>::try_from(mended) else {
            let message = "with `--id` the file must hold one order";
            return Err(Failure::usage(message).into());
        };
        let mended = Some(Rc::new(mended));
        return Ok(vec![Planned { id, mended }]);
    }
    let mut planned = Vec::new();
    for mended in mended {
        let Some(order_uid) = mended.order_uid.clone() else {
            let message = "an order of the file has no uid by which its dead letter can be found";
            let hint = "give it the uid, or name the dead letter with --id";
            return Err(Failure::usage(message).hint(hint).into());
        };
        let ids = open_ids_of(&order_uid, store)?;
        if ids.is_empty() {
            let reason = "there is no open dead letter with this uid or key".to_owned();
            let order_uid = Some(order_uid);
            attempts.add(None, Attempt::Refused { order_uid, reason });
        }
        let mended = Rc::new(mended);
        planned.extend(ids.into_iter().map(|id| Planned {
            id,
            mended: Some(mended.clone()),
        }));
    }
    Ok(planned)
}

/// The open dead letters with this uid, or with this key, up to [`MAX_OF_ORDER`] of each.
fn open_ids_of(order_uid: &str, store: &mut dyn OperatorStore) -> anyhow::Result<BTreeSet<i64>> {
    let by_uid = DeadLetterFilter {
        order_uid: Some(order_uid.to_owned()),
        ..DeadLetterFilter::default()
    };
    let by_key = DeadLetterFilter {
        key: Some(order_uid.into()),
        ..DeadLetterFilter::default()
    };
    let mut ids = BTreeSet::new();
    for filter in [by_uid, by_key] {
        let found = store.dead_letters(&filter, i64::MIN, MAX_OF_ORDER)?;
        ids.extend(found.iter().map(|letter| letter.id));
    }
    Ok(ids)
}

/// Retries one dead letter, for good where there is something to tell the APIs by.
pub(super) fn retry(
    id: i64,
    mended: Option<&[u8]>,
    why: &str,
    store: &mut dyn OperatorStore,
    forgetting: Option<&mut Forgetting>,
) -> anyhow::Result<Attempt> {
    let Some(found) = store.dead_letter(id)? else {
        return Ok(Attempt::missing());
    };
    let by = actor();
    let change = Change { by: &by, why };
    let mode = match forgetting {
        Some(_) => Mode::Commit,
        None => Mode::DryRun,
    };
    let attempt = dead_letters::retry(store, &found, mended, &change, mode)?;
    if let Attempt::Resolved {
        resolution: Resolution::Retried,
        order_uid: Some(order_uid),
    } = &attempt
        && let Some(forgetting) = forgetting
    {
        // The order is stored by now: an API that looks it up finds it.
        forgetting.forget(order_uid);
    }
    Ok(attempt)
}
