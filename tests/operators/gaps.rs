//! `orders gaps`: deleted records stop a partition until an operator accepts that they are lost.

use serde_json::json;
use support::Env;
use support::kafka::RawRecord;

/// Partition 0 has lost its unread offsets 3 to 4.
fn with_a_gap() -> Env {
    let env = Env::ready();
    let mut consumer = env.consumer();
    let records = |name: &str, count| -> Vec<RawRecord> {
        let uids = (0..count).map(|number| format!("{name}-{number}"));
        uids.map(|uid| RawRecord::order(&uid)).collect()
    };
    env.produce(&records("read", 3));
    env.wait_until_applied();
    consumer.stop();
    env.produce(&records("unread", 4));
    env.kafka().delete_records(&env.topic(), 0, 5);
    env
}

#[test]
fn without_gaps_there_is_nothing_to_list() {
    let env = Env::ready();
    let list = env.orders(&["gaps"]).run().succeeds();
    list.prints("", "there are no gaps\n");
    let list = ["gaps", "list", "--output", "json"];
    assert_eq!(
        env.orders(&list).run().succeeds().json(),
        json!({"gaps": []})
    );
}

#[test]
fn an_accepted_gap_is_passed_by_the_running_consumer_and_by_no_more() {
    let env = with_a_gap();
    let topic = env.topic();
    let consumer = env.consume().spawn();
    let accept = format!("orders gaps accept {topic}/0:3-4");
    consumer.wait_until_unready(&accept);
    let list = env.orders(&["gaps"]).run().succeeds();
    let width = topic.len();
    let headers = format!("{:width$}        records  state  noted at  reason", "gap");
    list.prints(
        &format!(
            "{headers}\n{topic}/0:3-4  2        waits            deleted before it was read\n"
        ),
        &format!("warning: partition 0 is stopped; to go on without these records: {accept}\n"),
    );

    let gap = format!("{topic}/0:3-4");
    let dry = ["gaps", "accept", &gap, "--dry-run"];
    let report = format!("would go on without 2 records of `{gap}`; nothing was changed\n");
    env.orders(&dry).run().succeeds().prints("", &report);
    let unasked = env.orders(&["gaps", "accept", &gap]).run().exits(2);
    unasked.reports("there is no terminal to ask at\nhint: pass --yes");
    assert_eq!(env.db().count("accepted_gaps"), 0);

    let yes = ["gaps", "accept", &gap, "--why", "no backup", "--yes"];
    env.orders(&yes).run().succeeds();
    env.wait_until_applied();
    consumer.wait_ready();
    assert_eq!(env.db().count("orders"), 5);
    let list = ["gaps", "--output", "json"];
    let list = env.orders(&list).run().succeeds().json();
    assert_eq!(list["gaps"][0]["state"], "passed");
    assert_eq!(
        (&list["gaps"][0]["from"], &list["gaps"][0]["to"]),
        (&json!(3), &json!(4))
    );
    let trace = env.db().text("SELECT why, accepted_by FROM accepted_gaps");
    assert!(
        trace.starts_with("no backup|") && trace.contains('@'),
        "{trace}"
    );
}

#[test]
fn a_gap_that_is_not_there_cannot_be_accepted() {
    let env = with_a_gap();
    let topic = env.topic();
    for wrong in ["0:3-5", "0:2-4", "7:3-4"] {
        let gap = format!("{topic}/{wrong}");
        let accept = ["gaps", "accept", &gap, "--yes"];
        let refused = env.orders(&accept).run().exits(3);
        refused.reports(&format!("no gap `{gap}` waits for a decision"));
    }
    let other = env.orders(&["gaps", "accept", "other/0:3-4", "--yes"]);
    other
        .run()
        .exits(2)
        .reports(&format!("the topic of the orders is `{topic}`"));
    assert_eq!(env.db().count("accepted_gaps"), 0);
}
