//! Every document written to the topic by another program: stored, or a dead letter with its bytes, its
//! reason and its position.

use std::collections::HashMap;

use orders::pipeline::PartitionOffset;
use support::Engines;
use support::database::bytes;
use support::http::Response;
use support::kafka::RawRecord;
use support::on_both_engines;

use super::rows::{Case, MARK, Verdict, cases};
use super::{Checks, Findings, Pipeline, get};

on_both_engines! {
    [
        each_document_is_stored_or_becomes_a_dead_letter_with_its_bytes_and_reason,
    ]
}

fn each_document_is_stored_or_becomes_a_dead_letter_with_its_bytes_and_reason(engines: &Engines) {
    let mut pipeline = Pipeline::start(*engines, 3);
    let (cases, mut findings) = (cases("topic"), Findings::default());
    let record = |case: &Case| RawRecord::new(case.uid.as_str(), case.bytes.clone());
    let records: Vec<RawRecord> = cases.iter().map(record).collect();
    pipeline.env.produce(&records);
    pipeline.env.wait_until_applied();

    let offsets = offsets(&pipeline);
    let mut letters = dead_letters(&pipeline);
    let mut connection = pipeline.connect();
    for case in &cases {
        let Some(at) = offsets.get(&case.uid).copied() else {
            findings.of(&case.name).holds(false, "it is not in the log");
            continue;
        };
        let letter = letters.remove(&at);
        let answer = get(&mut connection, &case.uid);
        let mut checks = findings.of(&case.name);
        match &case.verdict {
            Verdict::Accepted(order) => {
                checks.holds(letter.is_none(), "it is a dead letter");
                let found = (answer.status, answer.json());
                checks.equal("GET", found, (200, (**order).clone()));
            }
            Verdict::NotJson | Verdict::Invalid { .. } => {
                match letter {
                    Some(letter) => check_letter(case, &letter, &mut checks),
                    None => checks.holds(false, "there is no dead letter"),
                }
                let position = format!("{}/{at}", pipeline.env.topic());
                check_refusal(&answer, &position, &mut checks);
            }
        }
    }
    let accepted = cases.iter().filter(|case| case.is_accepted()).count();
    let mut db = pipeline.env.db();
    let counts = (db.count("orders"), db.count("log_gaps"), letters.len());
    let mut checks = findings.of("the store");
    checks.equal(
        "orders, gaps and other dead letters",
        counts,
        (accepted as i64, 0, 0),
    );
    let counted = pipeline.consumer.metric("orders_dead_letters_total");
    checks.equal(
        "the metric of dead letters",
        counted,
        (cases.len() - accepted) as u64,
    );
    pipeline.consumer.wait_for_line("dead letter at offset");
    pipeline.check_logs(&mut findings);
    findings.report();
    pipeline.assert_works();
}

/// The position of each document, by its key.
fn offsets(pipeline: &Pipeline) -> HashMap<String, PartitionOffset> {
    let records = pipeline.env.log().read_all(&pipeline.env.topic());
    let positions = records.iter().map(|record| {
        let at = PartitionOffset::new(record.partition, record.offset);
        (record.key_text(), at)
    });
    positions.collect()
}

struct Letter {
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    payload_bytes: String,
    order_uid: Option<String>,
    reason: String,
}

fn dead_letters(pipeline: &Pipeline) -> HashMap<PartitionOffset, Letter> {
    let rows = pipeline.env.db().text(
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
        let number = |cell: &str| cell.parse::<i64>().expect("a number");
        let partition = i32::try_from(number(cells[0])).expect("partitions are few");
        (PartitionOffset::new(partition, number(cells[1])), letter)
    };
    rows.lines().map(letter).collect()
}

fn check_letter(case: &Case, letter: &Letter, checks: &mut Checks<'_>) {
    let (key, uid) = (letter.key.as_deref(), letter.order_uid.as_deref());
    checks.equal("the key", key, Some(case.uid.as_bytes()));
    checks.equal("the uid", uid, case.readable_uid());
    let is_whole = letter.payload.as_deref() == Some(case.bytes.as_slice());
    checks.holds(is_whole, "the dead letter has other bytes");
    let length = case.bytes.len().to_string();
    checks.equal("the length", &letter.payload_bytes, &length);
    let reason = letter.reason.as_str();
    let start = match &case.verdict {
        Verdict::Invalid { pointer } if pointer.is_empty() => {
            "not a valid order: the document must be ".to_owned()
        }
        Verdict::Invalid { pointer } => format!("not a valid order: {pointer} "),
        Verdict::NotJson | Verdict::Accepted(_) => "not one JSON document: ".to_owned(),
    };
    checks.holds(
        reason.starts_with(&start),
        format!("the reason is `{reason}`"),
    );
    let is_safe = !reason.contains(MARK) && !reason.chars().any(char::is_control);
    checks.holds(
        is_safe,
        format!("the reason repeats the document: {reason:?}"),
    );
}

/// A dead letter is a 404 that names its position; one whose uid is not readable is found by its key.
fn check_refusal(answer: &Response, position: &str, checks: &mut Checks<'_>) {
    checks.problem(answer, 404, "dead-lettered");
    let problem = answer.json();
    let detail = problem["detail"].as_str().unwrap_or_default();
    checks.holds(detail.contains(position), "GET does not name the position");
}
