//! Every document written to the topic by another program: stored, or a dead letter with its bytes, its
//! reason and its position.

use std::collections::HashMap;

use orders::pipeline::PartitionOffset;
use serde_json::Value;
use support::Engines;
use support::database::bytes;
use support::kafka::{RawRecord, StoredRecord};
use support::on_both_engines;

use super::rows::{Case, MARK, Verdict, cases};
use super::{Findings, World, get, metric};

on_both_engines! {
    [
        each_document_is_stored_or_becomes_a_dead_letter_with_its_bytes_and_reason,
    ]
}

fn each_document_is_stored_or_becomes_a_dead_letter_with_its_bytes_and_reason(engines: &Engines) {
    let (mut world, cases, mut findings) = (
        World::start(*engines, 3),
        cases("topic"),
        Findings::default(),
    );
    let record = |case: &Case| RawRecord::new(case.uid.as_str(), case.bytes.clone());
    let records: Vec<RawRecord> = cases.iter().map(record).collect();
    world.env.log().produce(&world.env.topic(), &records);
    world.env.wait_until_applied();

    let offsets = offsets(&world);
    let mut letters = dead_letters(&world);
    let mut connection = world.connect();
    for case in &cases {
        let Some(at) = offsets.get(&case.uid).copied() else {
            findings.holds(&case.name, false, "it is not in the log");
            continue;
        };
        let letter = letters.remove(&at);
        let answer = get(&mut connection, &case.uid);
        let got = (answer.status, answer.json());
        match &case.verdict {
            Verdict::Accepted(order) => {
                findings.holds(&case.name, letter.is_none(), "it is a dead letter");
                findings.equal(&case.name, "GET", got, (200, (**order).clone()));
            }
            Verdict::NotJson | Verdict::Invalid { .. } => {
                check_letter(case, letter, &mut findings);
                let location = format!("{}/{at}", world.env.topic());
                check_refusal(case, &got, &location, &mut findings);
            }
        }
    }
    findings.equal("the dead letters", "what nobody wrote", letters.len(), 0);
    let accepted = cases.iter().filter(|case| case.is_accepted()).count();
    findings.equal(
        "the store",
        "the number of orders",
        world.env.db().count("orders"),
        accepted as i64,
    );
    findings.equal(
        "the store",
        "the number of gaps",
        world.env.db().count("log_gaps"),
        0,
    );
    let counted = metric(&world.consumer, "orders_consumer_dead_letters_total");
    findings.equal(
        "the metrics",
        "the dead letters",
        counted,
        (cases.len() - accepted) as u64,
    );
    world.consumer.wait_for_line("dead letter at offset");
    world.look_at_logs(&mut findings);
    findings.report();
    world.still_works();
}

/// Where each document is, by its key.
fn offsets(world: &World) -> HashMap<String, PartitionOffset> {
    let records = world.env.log().read_all(&world.env.topic());
    let offset = |record: &StoredRecord| {
        let at = PartitionOffset::new(record.partition, record.offset);
        (record.key_text(), at)
    };
    records.iter().map(offset).collect()
}

struct Letter {
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    payload_bytes: String,
    order_uid: Option<String>,
    reason: String,
}

fn dead_letters(world: &World) -> HashMap<PartitionOffset, Letter> {
    let rows = world.env.db().text(
        "SELECT partition, \"offset\", key, payload, payload_bytes, order_uid, reason
         FROM dead_letters",
    );
    let letter = |row: &str| {
        let cells: Vec<&str> = row.splitn(7, '|').collect();
        let letter = Letter {
            key: bytes(cells[2]),
            payload: bytes(cells[3]),
            payload_bytes: cells[4].to_owned(),
            order_uid: Some(cells[5].to_owned()).filter(|uid| !uid.is_empty()),
            reason: cells[6].to_owned(),
        };
        let partition = cells[0].parse().expect("a number");
        let offset = cells[1].parse().expect("a number");
        (PartitionOffset { partition, offset }, letter)
    };
    rows.lines().map(letter).collect()
}

fn check_letter(case: &Case, letter: Option<Letter>, findings: &mut Findings) {
    let name = case.name.as_str();
    let Some(letter) = letter else {
        findings.holds(name, false, "there is no dead letter");
        return;
    };
    findings.equal(
        name,
        "the key",
        letter.key.as_deref(),
        Some(case.uid.as_bytes()),
    );
    let is_whole = letter.payload.as_deref() == Some(case.bytes.as_slice());
    findings.holds(
        name,
        is_whole,
        "the dead letter does not hold the bytes that came",
    );
    findings.equal(
        name,
        "the length",
        letter.payload_bytes,
        case.bytes.len().to_string(),
    );
    findings.equal(
        name,
        "the uid",
        letter.order_uid.as_deref(),
        case.readable_uid(),
    );
    let reason = letter.reason.as_str();
    let is_named = match &case.verdict {
        Verdict::Invalid { pointer } if pointer.is_empty() => {
            reason.starts_with("not a valid order: the document must be ")
        }
        Verdict::Invalid { pointer } => {
            reason.starts_with(&format!("not a valid order: {pointer} "))
        }
        Verdict::NotJson | Verdict::Accepted(_) => reason.starts_with("not one JSON document: "),
    };
    findings.holds(name, is_named, format!("the reason is `{reason}`"));
    let is_safe = !reason.contains(MARK) && !reason.chars().any(char::is_control);
    findings.holds(
        name,
        is_safe,
        format!("the reason repeats what came: {reason:?}"),
    );
}

/// A dead letter whose uid could be read is a 404 that names where it is, any other just a 404.
fn check_refusal(case: &Case, got: &(u16, Value), location: &str, findings: &mut Findings) {
    let (status, said) = got;
    let kind = match case.readable_uid() {
        Some(_) => "dead-lettered",
        None => "no-such-order",
    };
    findings.equal(
        &case.name,
        "GET",
        (*status, &said["type"]),
        (404, &kind.into()),
    );
    let names_location = said["detail"]
        .as_str()
        .unwrap_or_default()
        .contains(location);
    let should = case.readable_uid().is_some();
    findings.equal(
        &case.name,
        "whether GET names where the dead letter is",
        names_location,
        should,
    );
}
