//! `orders dead-letters`: what is printed, what is stored, and what the API answers afterwards.

mod changes;
mod crashes;
mod lists;

use serde_json::Value;
use support::Env;
use support::kafka::RawRecord;

/// A document whose `sm_id` is wrong.
fn wrong(uid: &str) -> String {
    format!(
        r#"{{"order_uid":"{uid}","sm_id":"x","delivery":{{"name":"Test"}},"date_created":"2021-11-26T06:22:19Z"}}"#
    )
}

/// Why [`wrong`] is no order.
const WRONG: &str =
    "not a valid order: /sm_id must be a whole number between -2147483648 and 2147483647";

/// Dead letters of these records: a key and a value each.
fn dead_letters(env: &Env, records: &[(&str, String)]) {
    let record = |(key, value): &(&str, String)| RawRecord::new(*key, value.as_bytes());
    let records: Vec<RawRecord> = records.iter().map(record).collect();
    env.produce(&records);
    let _consumer = env.consumer();
    env.wait_until_applied();
}

fn run(env: &Env, arguments: &str) -> support::process::Output {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    env.orders(&[&["dead-letters"], &arguments[..]].concat())
        .run()
}

fn write(env: &Env, name: &str, document: &Value) {
    let path = env.path().join(name);
    std::fs::write(path, document.to_string()).expect("the folder is writable");
}
