//! `orders replay --uid`: applies the records of single orders again.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Args;
use crate::commands::confirm::confirm;
use crate::commands::forgetting::Forgetting;
use crate::commands::{Context, connect, open};
use crate::event_log::sqlite::Reach;
use crate::exit::{Exit, Failure};
use crate::operations::actor::actor;
use crate::operations::reapply::{self, FoundOrder, FoundRecord, Outcome, Topic};
use crate::store::Change;
use crate::store::operator::dead_letters::Mode;

/// Finds the records, applies them, and makes every API forget the orders. [`Exit::CheckFailed`] when
/// nothing was found of one, [`Exit::Failed`] when the database refuses one.
pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let settings = args.engines.log()?;
    let store = args.engines.store()?;
    let uids: BTreeSet<String> = args.uid.iter().cloned().collect();
    if uids.contains("") {
        return Err(Failure::usage("the uid is empty").into());
    }
    let uids: Vec<String> = uids.into_iter().collect();
    let wait = connect::wait(None, true);
    let mut store = open::operator(&store, wait, context)?;
    let log = open::log(&settings, Reach::OtherProcesses, None)?;
    let name = &settings.topics.orders;
    let hint = "start it, or name another in KAFKA_BROKERS";
    let state = connect::to_log(&settings, hint, wait, context, || log.topic(name))?;
    let topic = Topic {
        name,
        state: &state,
    };
    let mut found = reapply::find(&*log, &mut *store, &topic, &uids, args.scan)
        .with_context(|| format!("reading the records of topic `{name}`"))?;
    let applicable = found.iter().filter(|order| order.is_applicable()).count();
    let question = format!("apply the records of {applicable} order(s) again");
    if applicable > 0 && !args.dry_run && !confirm(&question, args.yes, context)? {
        return Ok(Exit::Done);
    }
    let (mut forgetting, mode) = match args.dry_run {
        true => (None, Mode::DryRun),
        false => (Some(Forgetting::open(&settings)?), Mode::Commit),
    };
    let change = Change {
        by: &actor(),
        why: &args.why,
    };
    for order in &mut found {
        let is_stored = reapply::apply(&mut *store, &topic, order, &change, mode)
            .with_context(|| format!("applying the order `{}` again", order.order_uid))?;
        if is_stored && let Some(forgetting) = &mut forgetting {
            // The order is stored by now: an API that looks it up finds it.
            forgetting.forget(&order.order_uid);
        }
    }
    report(&found, args, context)?;
    if let Some(forgetting) = forgetting {
        forgetting.report(context);
    }
    exit(&found, args)
}

fn exit(found: &[FoundOrder], args: &Args) -> anyhow::Result<Exit> {
    if count(found, Outcome::Refused) > 0 {
        return Ok(Exit::Failed);
    }
    let mut unknown = found.iter().filter(|order| order.records.is_empty());
    let Some(first) = unknown.next() else {
        return Ok(Exit::Done);
    };
    let uid = &first.order_uid;
    let message = match unknown.count() {
        0 => format!("no record of the order `{uid}` was found"),
        more => format!("no record of the order `{uid}` and of {more} other(s) was found"),
    };
    let failure = Failure::new(Exit::CheckFailed, message);
    Err(match args.scan {
        true => failure,
        false => failure.hint("its records may have another key: --scan reads the whole topic"),
    }
    .into())
}

fn count(found: &[FoundOrder], outcome: Outcome) -> usize {
    let records = found.iter().flat_map(|order| &order.records);
    records.filter(|record| record.outcome == outcome).count()
}

fn report(found: &[FoundOrder], args: &Args, context: &Context) -> anyhow::Result<()> {
    let output = &context.output;
    let applied = count(found, Outcome::Applied);
    if output.is_json() {
        let orders: Vec<Value> = found.iter().map(document).collect();
        output.json(&json!({
            "orders": orders,
            "applied": applied,
            "dry_run": args.dry_run,
        }))?;
    } else if found.iter().any(|order| !order.records.is_empty()) {
        let rows = found.iter().flat_map(|order| {
            let uid = &order.order_uid;
            order.records.iter().map(|record| row(uid, record))
        });
        output.table(
            &["order", "record", "accepted at", "outcome", "because"],
            rows,
        )?;
    }
    let left_out: u64 = found.iter().map(|order| order.left_out).sum();
    if left_out > 0 && !output.is_json() {
        output.info(&format!("{left_out} older records are not listed"));
    }
    output.info(&match args.dry_run {
        true => format!("{applied} would be applied; nothing was written"),
        false => format!("{applied} applied"),
    });
    if count(found, Outcome::Waiting) > 0 {
        output.info("what waits is left to the consumer: orders status");
    }
    if count(found, Outcome::DeadLetter) > 0 {
        output.info("what is a dead letter: orders dead-letters retry --uid UID");
    }
    Ok(())
}

fn row(uid: &str, record: &FoundRecord) -> Vec<String> {
    vec![
        uid.to_owned(),
        format!("{}@{}", record.at.partition, record.at.offset),
        record.accepted_at.to_string(),
        name(record.outcome).replace('_', " "),
        record.reason.clone().unwrap_or_else(|| "-".into()),
    ]
}

fn document(order: &FoundOrder) -> Value {
    let records = order.records.iter().map(|record| {
        json!({
            "partition": record.at.partition,
            "offset": record.at.offset,
            "accepted_at": record.accepted_at,
            "outcome": name(record.outcome),
            "reason": record.reason,
        })
    });
    json!({
        "order_uid": order.order_uid,
        "records": records.collect::<Vec<_>>(),
        "left_out": order.left_out,
    })
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::OlderVersion => "older_version",
        Outcome::Erased => "erased",
        Outcome::Waiting => "waiting",
        Outcome::DeadLetter => "dead_letter",
        Outcome::Refused => "refused",
    }
}
