//! `orders send` and `orders get`: orders from files and stdin, output as tables and JSON.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::on_both_engines;
use support::orders::{order, order_version};
use support::process::{Output, orders};
use support::{Engines, Env, Process};

on_both_engines! {
    [
        one_order_an_array_lines_and_stdin_are_all_sent,
        an_order_is_shown_as_tables_or_as_the_json_it_was_sent_as,
        several_orders_are_an_array_with_an_entry_for_each,
        an_unknown_order_is_3,
        an_order_that_nobody_can_look_up_yet_is_4_and_a_wait_ends_when_it_is_there,
        sending_continues_while_the_api_is_restarted,
    ]
}

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/test_order.json");

/// The example as `orders get` shows it.
const TABLES: &str = "\
order               b563feb7b2b84b6test
track_number        WBILMTESTTRACK
entry               WBIL
locale              en
internal_signature
customer_id         test
delivery_service    meest
shardkey            9
sm_id               99
date_created        2021-11-26T06:22:19Z
oof_shard           1

delivery
name      Test Testov
phone     +9720000000
zip       2639809
city      Kiryat Mozkin
address   Ploshad Mira 15
region    Kraiot
email     test@gmail.com

payment
transaction    b563feb7b2b84b6test
request_id
currency       USD
provider       wbpay
amount         1817
payment_dt     1637907727
bank           alpha
delivery_cost  1500
goods_total    317
custom_fee     0

chrt_id  track_number    price  rid                    name      sale  size  total_price  nm_id    brand          status
9934930  WBILMTESTTRACK  453    ab4219087a764ae0btest  Mascaras  30    0     317          2389212  Vivienne Sabo  202
";

/// The environment of a test with a running pipeline.
struct Pipeline {
    // Dropped in this order: the processes before their database.
    api: Process,
    _consumer: Process,
    env: Env,
}

impl Pipeline {
    fn start(engines: Engines) -> Pipeline {
        let env = engines.ready();
        let (api, consumer) = (env.api(), env.consumer());
        Pipeline {
            api,
            _consumer: consumer,
            env,
        }
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.env.path().join(name), text).expect("the folder is writable");
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_with_stdin(args, "")
    }

    fn run_with_stdin(&self, args: &[&str], stdin: &str) -> Output {
        let orders = self.env.orders(args).env("ORDERS_API_URL", self.api.url());
        orders.stdin(stdin).run()
    }

    fn sent(&self) -> Vec<String> {
        keys(&self.env)
    }
}

/// The keys of the log, in order.
fn keys(env: &Env) -> Vec<String> {
    let records = env.log().read_all(&env.topic());
    records.iter().map(|record| record.key_text()).collect()
}

fn lines(orders: &[Value]) -> String {
    orders.iter().map(|order| format!("{order}\n")).collect()
}

fn one_order_an_array_lines_and_stdin_are_all_sent(engines: &Engines) {
    let pipeline = Pipeline::start(*engines);
    let one = pipeline.run(&["send", EXAMPLE]).succeeds();
    one.prints("b563feb7b2b84b6test\n", "");

    let array = json!([order("a1"), order("a2")]);
    pipeline.file("array.json", &format!("{array:#}"));
    let three = lines(&["l1", "l2", "l3"].map(order));
    pipeline.file("lines.ndjson", &three);
    let files = ["send", "array.json", "lines.ndjson"];
    let both = pipeline.run(&files).succeeds();
    let table = "file          accepted  refused  failed\n\
                 array.json    2         0        0\n\
                 lines.ndjson  3         0        0\n";
    both.prints(table, "");

    let piped = |stdin: &str| pipeline.run_with_stdin(&["send", "-"], stdin).succeeds();
    piped(&order("s1").to_string()).prints("s1\n", "");
    // Detected by its contents, regardless of its name.
    let table = "file   accepted  refused  failed\nstdin  2         0        0\n";
    piped(&lines(&["s2", "s3"].map(order))).prints(table, "");
    let all = "b563feb7b2b84b6test a1 a2 l1 l2 l3 s1 s2 s3";
    assert_eq!(pipeline.sent().join(" "), all);
}

#[test]
fn refused_orders_are_listed_with_line_and_reasons_and_the_others_are_sent() {
    let pipeline = Pipeline::start(Engines::Servers);
    let mut wrong = order("wrong");
    (wrong["sm_id"], wrong["locale"]) = (json!("x"), json!(5));
    let text = lines(&[order("first"), wrong]) + "{broken\n" + &lines(&[order("last")]);
    pipeline.file("lines.ndjson", &text);
    let ran = pipeline.run(&["send", "lines.ndjson"]).exits(1);
    let table = "file          accepted  refused  failed\nlines.ndjson  2         2        0\n";
    let errors = "error: lines.ndjson:2: order `wrong` refused (422): /locale must be a text; /sm_id \
                  must be a whole number between -2147483648 and 2147483647\n\
                  error: lines.ndjson:3: refused (400): the document cannot be read: key must be a \
                  string at line 1 column 2\n";
    ran.prints(table, errors);
    assert_eq!(pipeline.sent(), ["first", "last"]);

    let args = ["send", "lines.ndjson", "--output", "json"];
    let json = pipeline.run(&args).exits(1).json();
    let counts = ["accepted", "refused", "failed"].map(|name| &json[name]);
    assert_eq!(counts, [2, 2, 0]);
    let refused = &json["orders"][0];
    let texts = ["file", "order_uid", "outcome"].map(|name| &refused[name]);
    assert_eq!(texts, ["lines.ndjson", "wrong", "refused"]);
    assert_eq!([&refused["line"], &refused["status"]], [2, 422]);
    let fault = json!({ "pointer": "/locale", "message": "must be a text" });
    assert_eq!(refused["errors"][0], fault);
}

#[test]
fn a_refused_order_of_an_array_is_listed_with_its_first_line() {
    let pipeline = Pipeline::start(Engines::Servers);
    let text = format!(
        "[\n{},\n{{\"order_uid\": \"lacks-a-date\"}}\n]",
        order("good")
    );
    pipeline.file("array.json", &text);
    let ran = pipeline.run(&["send", "array.json"]).exits(1);
    let start = "error: array.json:3: order `lacks-a-date` refused (422): /date_created ";
    assert!(ran.stderr.starts_with(start), "{}", ran.stderr);
    assert_eq!(pipeline.sent(), ["good"]);
}

#[test]
fn nothing_is_sent_when_one_of_the_files_is_missing() {
    let pipeline = Pipeline::start(Engines::Servers);
    let ran = pipeline.run(&["send", EXAMPLE, "absent.json"]).exits(2);
    let error = "error: reading orders from `absent.json`: No such file or directory (os error 2)\n\
                 hint: name files with orders, or `-` for stdin\n";
    ran.prints("", error);
    assert!(pipeline.sent().is_empty());
    let ran = pipeline.run(&["send", "-"]).exits(1);
    ran.prints("", "error: stdin:1: failed: the file has no order\n");
}

fn an_order_is_shown_as_tables_or_as_the_json_it_was_sent_as(engines: &Engines) {
    let pipeline = Pipeline::start(*engines);
    pipeline.run(&["send", EXAMPLE]).succeeds();
    let get = ["get", "b563feb7b2b84b6test", "--output", "json"];
    pipeline.run(&get[..2]).succeeds().prints(TABLES, "");
    let json = pipeline.run(&get).succeeds();
    let example: Value = serde_json::from_str(&fs::read_to_string(EXAMPLE).unwrap()).unwrap();
    assert_eq!(json.json(), example);
}

fn several_orders_are_an_array_with_an_entry_for_each(engines: &Engines) {
    let pipeline = Pipeline::start(*engines);
    let (one, two) = (order("one"), order_version("two", 2));
    let both = lines(&[one.clone(), two.clone()]);
    pipeline.run_with_stdin(&["send", "-"], &both).succeeds();
    let args = ["get", "two", "one", "--output", "json"];
    let found = pipeline.run(&args).succeeds();
    assert_eq!(found.json(), json!([two, one]));

    let args = ["get", "one", "absent", "two", "--output", "json"];
    let mixed = pipeline.run(&args).exits(3);
    let absent = "order `absent` was not found: no such order";
    let entry = json!({ "order_uid": "absent", "error": absent });
    assert_eq!(mixed.json(), json!([one, entry, two]));
    assert_eq!(mixed.stderr, format!("error: {absent}\n"));
}

fn an_unknown_order_is_3(engines: &Engines) {
    let pipeline = Pipeline::start(*engines);
    let error = "order `absent` was not found: no such order";
    for wait in ["0s", "10s"] {
        let started = Instant::now();
        let ran = pipeline.run(&["get", "absent", "--wait", wait]).exits(3);
        let elapsed = started.elapsed();
        ran.prints("", &format!("error: {error}\n"));
        // A definite answer ends the wait.
        assert!(elapsed < Duration::from_secs(8), "it took {elapsed:?}");
    }
    let args = ["get", "absent", "--output", "json"];
    let json = pipeline.run(&args).exits(3).json();
    assert_eq!(
        json,
        json!({ "error": error, "exit_code": 3, "hint": null })
    );
}

fn an_order_that_nobody_can_look_up_yet_is_4_and_a_wait_ends_when_it_is_there(engines: &Engines) {
    let env = engines.ready();
    env.db()
        .run("INSERT INTO orders (order_uid) VALUES ('stored')");
    let api = env.serve_api().env("LOOKUP_WAIT_MS", "200").start();
    let get = |wait| {
        let args = ["get", "stored", "--output", "json", "--wait", wait];
        env.orders(&args).env("ORDERS_API_URL", api.url())
    };
    let impatient = get("0s").run().exits(4).json();
    assert_eq!(impatient["hint"], "try again, or wait with --wait 10s");
    let error = "order `stored` is not found yet: the lookup is in progress";
    assert_eq!(impatient["error"], error);

    let mut patient = get("60s").spawn();
    let _consumer = env.consumer();
    patient.finished().succeeds();
}

#[test]
fn an_order_of_which_nothing_was_sent_is_never_reported_as_perhaps_accepted() {
    for (url, reason) in [
        (
            "http://nosuch.invalid:8080",
            "failed to lookup address information",
        ),
        ("http://127.0.0.1:1", "Connection refused"),
    ] {
        let sent = orders("send - --timeout 3s")
            .stdin("{}")
            .env("ORDERS_API_URL", url);
        let ran = sent
            .run()
            .exits(5)
            .reports(&format!("no connection to the API at `{url}`: "));
        let ran = ran.reports(reason);
        assert!(!ran.stderr.contains("may or may not"), "{}", ran.stderr);
    }
}

#[test]
fn an_order_for_a_deleted_topic_is_surely_not_accepted_and_the_remedy_is_named() {
    let env = Env::ready();
    let api = env.api();
    let send = |uid: &str| {
        let args = ["send", "-", "--timeout", "3s", "--api-url", &api.url()];
        env.orders(&args).stdin(order(uid).to_string()).run()
    };
    send("before").succeeds();
    env.kafka().delete_topic(&env.topic());
    for uid in ["first", "second"] {
        let ran = send(uid).exits(1).reports("was not accepted in 3s: ");
        ran.reports("orders create-topics");
    }
    env.orders(&["create-topics", "--partitions", "1"])
        .run()
        .succeeds();
    support::eventually("orders to be accepted again", support::TIMEOUT, || {
        (send("after").code() == Some(0)).then_some(())
    });
    assert!(
        !keys(&env)
            .iter()
            .any(|uid| uid == "first" || uid == "second")
    );
}

#[test]
fn a_get_waits_for_at_most_the_time_asked_for() {
    let env = Env::ready();
    let api = env.api();
    let started = Instant::now();
    // No consumer answers lookups.
    let args = ["get", "absent", "--wait", "3s", "--api-url", &api.url()];
    let ran = env.orders(&args).run().exits(4);
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(4), "it took {elapsed:?}");
    ran.reports("the lookup is in progress")
        .reports("hint: check that `orders consume` runs");
}

#[test]
fn an_array_with_a_comma_too_many_is_refused_in_a_sentence_with_its_place() {
    let pipeline = Pipeline::start(Engines::Servers);
    let text = format!("[{},{},]", order("a1"), order("a2"));
    let ran = pipeline.run_with_stdin(&["send", "-"], &text).exits(1);
    let column = text.len();
    ran.reports(&format!(
        "error: stdin:1: refused: an order is missing after the last comma (column {column})\n"
    ));
    assert_eq!(pipeline.sent(), ["a1", "a2"]);
}

#[test]
fn an_unreachable_api_is_5_with_a_hint() {
    let env = Env::empty();
    let run = |args: &[&str]| {
        let orders = env.orders(args).env("ORDERS_API_URL", "http://127.0.0.1:1");
        orders.run().exits(5)
    };
    let why = "no connection to the API at `http://127.0.0.1:1`: Connection refused (os error 111)\n\
               hint: start it with `orders serve-api`, or name another with --api-url or \
               ORDERS_API_URL\n";
    run(&["send", EXAMPLE]).prints("", &format!("error: sending orders: {why}"));
    run(&["get", "uid"]).prints("", &format!("error: looking up orders: {why}"));
    let json = run(&["get", "uid", "--output", "json"]);
    assert_eq!(json.json()["exit_code"], 5);
}

fn sending_continues_while_the_api_is_restarted(engines: &Engines) {
    let env = engines.ready();
    let port = support::private::free_address();
    let api = || env.serve_api().env("HTTP_ADDR", &port).start();
    let mut running = api();
    let orders: Vec<Value> = (0..3000)
        .map(|number| order(&format!("uid-{number}")))
        .collect();
    fs::write(env.path().join("many.ndjson"), lines(&orders)).expect("the folder is writable");
    let args = ["send", "many.ndjson"];
    let mut sending = env
        .orders(&args)
        .env("ORDERS_API_URL", format!("http://{port}"))
        .spawn();
    support::eventually("some orders in the log", Duration::from_secs(30), || {
        (env.log().ends(&env.topic())[0] > 200).then_some(())
    });
    running.kill9();
    assert!(sending.is_running(), "it was still sending");
    let _api = api();
    let status = sending.wait_exit(Duration::from_secs(60));
    assert!(status.success(), "{:?}", sending.lines());
    let mut sent = keys(&env);
    sent.dedup();
    let expected: Vec<String> = (0..3000).map(|number| format!("uid-{number}")).collect();
    assert_eq!(sent, expected);
}
