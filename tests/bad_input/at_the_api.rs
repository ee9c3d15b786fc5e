//! Every document posted: the right answer, and nothing of a refused one in the log, in the store or in
//! the diagnostics.

use std::collections::BTreeMap;

use serde_json::Value;
use support::Engines;
use support::http::Response;
use support::on_both_engines;

use super::rows::{Case, MARK, Verdict, cases};
use super::{Findings, Pipeline, get, pointers};

on_both_engines! {
    [
        each_document_is_answered_as_expected_and_only_orders_reach_the_log,
    ]
}

#[test]
fn an_order_with_a_thousand_faults_gets_a_short_answer() {
    let pipeline = Pipeline::start(Engines::Servers, 1);
    let items = vec![r#"{"price":"x","name":7}"#; 1_000].join(",");
    let order = format!(r#"{{"order_uid":"faulty","items":[{items}]}}"#);
    let answer = pipeline.api.post(order).expect_status(422);
    let problem = answer.json();
    assert_eq!(pointers(&problem).len(), 100);
    assert_eq!(problem["more_errors"], 1_901, "a date is missing too");
    assert!(answer.body.len() < 16 << 10, "{} bytes", answer.body.len());
}

fn each_document_is_answered_as_expected_and_only_orders_reach_the_log(engines: &Engines) {
    let mut pipeline = Pipeline::start(*engines, 2);
    let (cases, mut findings) = (cases("api"), Findings::default());
    let mut connection = pipeline.connect();
    for case in &cases {
        // A refusal leaves the connection usable: the whole table uses one.
        let answer = connection.post("/orders", &case.bytes);
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        check_answer(case, &answer, &mut findings);
    }
    let several =
        r#"{"order_uid":"a b","sm_id":"x","payment":{"amount":"12"},"date_created":"now"}"#;
    let answer = connection.post("/orders", several.as_bytes());
    let answer = answer.expect("an answer").json();
    let mut found = pointers(&answer);
    found.sort_unstable();
    let all = vec!["/date_created", "/order_uid", "/payment/amount", "/sm_id"];
    findings
        .of("several faults")
        .equal("the pointers", found, all);
    check_log(&pipeline, &cases, &mut findings);
    pipeline.env.wait_until_applied();
    let mut db = pipeline.env.db();
    let accepted = cases.iter().filter(|case| case.is_accepted()).count() as i64;
    let counts = (db.count("orders"), db.count("dead_letters"));
    let mut checks = findings.of("the store");
    checks.equal("orders and dead letters", counts, (accepted, 0));
    for case in &cases {
        let answer = get(&mut connection, &case.uid);
        let mut checks = findings.of(&case.name);
        match &case.verdict {
            Verdict::Accepted(order) => {
                let found = (answer.status, answer.json());
                checks.equal("GET", found, (200, (**order).clone()));
            }
            Verdict::NotJson | Verdict::Invalid { .. } => {
                checks.problem(&answer, 404, "no-such-order");
            }
        }
    }
    pipeline.check_logs(&mut findings);
    findings.report();
    pipeline.assert_works();
}

fn check_answer(case: &Case, answer: &Response, findings: &mut Findings) {
    let (text, mut checks) = (answer.text(), findings.of(&case.name));
    let repeats = text.contains(MARK);
    checks.holds(!repeats, format!("the answer repeats it: {text}"));
    let is_unescaped = |letter: char| letter.is_control() || letter == '<';
    let is_escaped = !text.chars().any(is_unescaped);
    checks.holds(is_escaped, format!("the answer repeats it: {text:?}"));
    let body = answer.json();
    match &case.verdict {
        Verdict::Accepted(_) => {
            let location = format!("api/order/{}", case.uid);
            let found = (answer.status, &body["order_uid"]);
            checks.equal("the answer", found, (202, &case.uid.as_str().into()));
            let found = answer.header("location");
            checks.equal("the location", found, Some(location.as_str()));
        }
        Verdict::NotJson => {
            checks.problem(answer, 400, "not-json");
            // Which fault of an ambiguous document is reported is not determined.
            let has_fault = !pointers(&body).is_empty();
            checks.holds(has_fault, format!("no fault is reported: {text}"));
        }
        Verdict::Invalid { pointer } => {
            checks.problem(answer, 422, "invalid-order");
            checks.equal("the pointers", pointers(&body), vec![pointer]);
        }
    }
}

/// The log has each accepted order once, normalized, and nothing else.
fn check_log(pipeline: &Pipeline, cases: &[Case], findings: &mut Findings) {
    let mut in_log: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in pipeline.env.log().read_all(&pipeline.env.topic()) {
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
        let mut checks = findings.of(&case.name);
        checks.equal("the records in the log", found, expected);
    }
    let mut checks = findings.of("the log");
    checks.equal("the rest", in_log, BTreeMap::new());
}
