//! Every document posted: the right answer, and nothing of a refused one in the log, in the store or in
//! the diagnostics.

use std::collections::BTreeMap;

use serde_json::Value;
use support::Engines;
use support::http::Response;
use support::on_both_engines;

use super::rows::{Case, MARK, Verdict, cases};
use super::{Findings, World, get, pointers};

on_both_engines! {
    [
        each_document_is_answered_as_expected_and_only_orders_reach_the_log,
    ]
}

fn each_document_is_answered_as_expected_and_only_orders_reach_the_log(engines: &Engines) {
    let (mut world, cases, mut findings) =
        (World::start(*engines, 2), cases("api"), Findings::default());
    let mut connection = world.connect();
    for case in &cases {
        // A refusal leaves the connection usable: the whole table goes over one.
        let answer = connection.post("/orders", &case.bytes);
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        check_answer(case, &answer, &mut findings);
    }
    let several =
        r#"{"order_uid":"a b","sm_id":"x","payment":{"amount":"12"},"date_created":"now"}"#;
    let answer = connection
        .post("/orders", several.as_bytes())
        .expect("it answers")
        .json();
    let mut named = pointers(&answer);
    named.sort_unstable();
    let all = vec!["/date_created", "/order_uid", "/payment/amount", "/sm_id"];
    findings.equal("several faults", "what is named", named, all);
    check_log(&world, &cases, &mut findings);
    world.env.wait_until_applied();
    let mut db = world.env.db();
    let accepted = cases.iter().filter(|case| case.is_accepted()).count();
    findings.equal(
        "the store",
        "the number of orders",
        db.count("orders"),
        accepted as i64,
    );
    findings.equal(
        "the store",
        "the number of dead letters",
        db.count("dead_letters"),
        0,
    );
    for case in &cases {
        let answer = get(&mut connection, &case.uid);
        match &case.verdict {
            Verdict::Accepted(order) => {
                findings.equal(
                    &case.name,
                    "GET",
                    (answer.status, answer.json()),
                    (200, (**order).clone()),
                );
            }
            Verdict::NotJson | Verdict::Invalid { .. } => {
                let kind = answer.json()["type"].clone();
                findings.equal(
                    &case.name,
                    "GET",
                    (answer.status, kind),
                    (404, "no-such-order".into()),
                );
            }
        }
    }
    world.look_at_logs(&mut findings);
    findings.report();
    world.still_works();
}

fn check_answer(case: &Case, answer: &Response, findings: &mut Findings) {
    let (name, text) = (case.name.as_str(), answer.text());
    findings.holds(
        name,
        !text.contains(MARK),
        format!("it is repeated: {text}"),
    );
    let is_raw = text
        .chars()
        .any(|letter| letter.is_control() || letter == '<');
    findings.holds(
        name,
        !is_raw,
        format!("something of it is given back raw: {text:?}"),
    );
    let said = answer.json();
    let expected = match &case.verdict {
        Verdict::Accepted(_) => {
            let place = format!("/api/order/{}", case.uid);
            findings.equal(
                name,
                "the answer",
                (answer.status, &said["order_uid"]),
                (202, &case.uid.as_str().into()),
            );
            findings.equal(
                name,
                "the place",
                answer.header("location"),
                Some(place.as_str()),
            );
            return;
        }
        Verdict::NotJson => (400, "not-json", None),
        Verdict::Invalid { pointer } => (422, "invalid-order", Some(pointer.as_str())),
    };
    let (status, kind, pointer) = expected;
    findings.equal(
        name,
        "the answer",
        (answer.status, &said["type"]),
        (status, &kind.into()),
    );
    findings.equal(
        name,
        "the status it tells",
        said["status"].as_u64(),
        Some(status.into()),
    );
    let media_type = answer.header("content-type");
    findings.equal(
        name,
        "the media type",
        media_type,
        Some("application/problem+json"),
    );
    match pointer {
        Some(pointer) => findings.equal(name, "the fault", pointers(&said), vec![pointer]),
        // The fault of an ambiguous document is not determined.
        None => findings.holds(
            name,
            !pointers(&said).is_empty(),
            format!("no fault is named: {text}"),
        ),
    }
}

/// The log has each accepted order once, in one form, and nothing else.
fn check_log(world: &World, cases: &[Case], findings: &mut Findings) {
    let mut in_log: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in world.env.log().read_all(&world.env.topic()) {
        let value = record.value.as_deref().unwrap_or_default();
        let value = serde_json::from_slice(value).unwrap_or(Value::Null);
        in_log.entry(record.key_text()).or_default().push(value);
    }
    for case in cases {
        let expected = match &case.verdict {
            Verdict::Accepted(order) => vec![(**order).clone()],
            Verdict::NotJson | Verdict::Invalid { .. } => Vec::new(),
        };
        let found = in_log.remove(&case.uid).unwrap_or_default();
        findings.equal(&case.name, "what the log has", found, expected);
    }
    findings.equal("the log", "what nobody posted", in_log, BTreeMap::new());
}
