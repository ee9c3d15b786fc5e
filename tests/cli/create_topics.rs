//! `orders create-topics`: topics made, checked, grown or refused.

use serde_json::json;

use crate::env::Env;
use crate::env::kafka::Outgoing;

/// The table of topics as it is printed: name, partitions, replicas, records, offsets.
fn table(topics: &[(String, usize, usize, &str)]) -> String {
    let width = topics
        .iter()
        .map(|topic| topic.0.len())
        .max()
        .unwrap_or_default();
    let mut table = format!(
        "{:width$}  partitions  replicas  records  offsets\n",
        "topic"
    );
    for (name, partitions, records, offsets) in topics {
        table += &format!("{name:width$}  {partitions:<10}  1         {records:<7}  {offsets}\n");
    }
    table
}

fn untouched(env: &Env) -> String {
    table(&[
        (env.topic(), 4, 0, "0-0 0-0 0-0 0-0"),
        (env.lookup_topic(), 1, 0, "0-0"),
        (env.found_topic(), 1, 0, "0-0"),
    ])
}

fn an_order() -> Outgoing {
    Outgoing::new("uid", "an order").to(0)
}

#[test]
fn missing_topics_are_made_and_a_second_run_changes_nothing() {
    let env = Env::new();
    let made = env.orders(&["create-topics"]).run().succeeds();
    assert_eq!(made.stdout, untouched(&env));
    let (orders, lookup, found) = (env.topic(), env.lookup_topic(), env.found_topic());
    assert_eq!(
        made.stderr,
        format!("created `{orders}`, `{lookup}`, `{found}`\n")
    );

    for args in [&["create-topics"][..], &["create-topics", "--check"]] {
        let again = env.orders(args).run().succeeds();
        assert_eq!(
            (again.stdout, again.stderr),
            (untouched(&env), String::new())
        );
    }
}

#[test]
fn what_is_in_the_topics_is_counted() {
    let env = Env::with_partitions(2);
    env.kafka()
        .produce(&env.topic(), &[an_order(), an_order(), an_order().to(1)]);
    env.kafka().delete_records(&env.topic(), 0, 1);
    let listed = env
        .orders(&["create-topics", "--partitions", "2"])
        .run()
        .succeeds();
    let expected = table(&[
        (env.topic(), 2, 2, "1-2 0-1"),
        (env.lookup_topic(), 1, 0, "0-0"),
        (env.found_topic(), 1, 0, "0-0"),
    ]);
    assert_eq!((listed.stdout, listed.stderr), (expected, String::new()));
}

#[test]
fn a_check_of_missing_topics_is_3_and_makes_none() {
    let env = Env::new();
    let checked = env.orders(&["create-topics", "--check"]).run().exits(3);
    let said: String = [env.topic(), env.lookup_topic(), env.found_topic()]
        .map(|topic| format!("warning: topic `{topic}` is missing\n"))
        .concat();
    assert_eq!(checked.stderr, said);
    assert_eq!(
        checked.stdout,
        "topic  partitions  replicas  records  offsets\n"
    );
    assert_eq!(env.kafka().partitions(&env.topic()), 0);
}

#[test]
fn a_topic_that_differs_is_said_left_as_it_is_and_3_for_a_check() {
    let env = Env::new();
    // As anybody else would make it: the broker's own settings.
    env.kafka().create_topic(&env.topic(), 2);
    let ran = env.orders(&["create-topics"]).run().succeeds();
    let topic = env.topic();
    let differences = [
        format!("topic `{topic}` has 2 partition(s), not 4"),
        format!("topic `{topic}` has retention.ms=604800000, not 2592000000"),
    ];
    let warnings = differences
        .each_ref()
        .map(|said| format!("warning: {said}\n"))
        .concat();
    let created = format!(
        "created `{}`, `{}`\n",
        env.lookup_topic(),
        env.found_topic()
    );
    assert_eq!(ran.stderr, format!("{created}{warnings}"));

    let checked = env.orders(&["create-topics", "--check"]).run().exits(3);
    assert_eq!((checked.stdout, checked.stderr), (ran.stdout, warnings));
    let json = env
        .orders(&["create-topics", "--check", "--output", "json"])
        .run()
        .exits(3);
    assert_eq!(json.json()["differences"], json!(differences));
    assert_eq!(env.kafka().partitions(&topic), 2);
}

#[test]
fn a_setting_that_was_changed_later_is_drift() {
    let env = Env::with_partitions(4);
    env.orders(&["create-topics", "--check"]).run().succeeds();
    env.kafka()
        .configure_topic(&env.lookup_topic(), "retention.ms", "1000");
    env.kafka()
        .configure_topic(&env.topic(), "unclean.leader.election.enable", "true");
    let checked = env.orders(&["create-topics", "--check"]).run().exits(3);
    for said in [
        format!(
            "warning: topic `{}` has retention.ms=1000, not 3600000\n",
            env.lookup_topic()
        ),
        format!(
            "warning: topic `{}` has unclean.leader.election.enable=true, not false\n",
            env.topic()
        ),
    ] {
        assert!(checked.stderr.contains(&said), "{}", checked.stderr);
    }
}

#[test]
fn a_topic_without_records_is_given_the_partitions_asked_for() {
    let env = Env::with_partitions(1);
    let grown = env
        .orders(&["create-topics", "--partitions", "3"])
        .run()
        .succeeds();
    let said = format!(
        "grew `{}`, which has no records, to 3 partitions\n",
        env.topic()
    );
    assert_eq!(grown.stderr, said);
    assert_eq!(env.kafka().partitions(&env.topic()), 3);
}

#[test]
fn a_topic_that_has_had_records_is_refused_more_partitions() {
    let env = Env::with_partitions(2);
    let refused = format!(
        "topic `{}` has 2 partition(s), not 3, and cannot be given more: it has had records, and an \
         order's next version would go to another partition",
        env.topic()
    );
    env.kafka().produce(&env.topic(), &[an_order()]);
    for _ in 0..2 {
        let ran = env
            .orders(&["create-topics", "--partitions", "3"])
            .run()
            .exits(1);
        let hint = "hint: make a topic of another name, and name it in KAFKA_TOPIC\n";
        assert_eq!(ran.stderr, format!("error: {refused}\n{hint}"));
        let check = ["create-topics", "--partitions", "3", "--check"];
        let checked = env.orders(&check).run().exits(3);
        assert_eq!(checked.stderr, format!("warning: {refused}\n"));
        assert_eq!(env.kafka().partitions(&env.topic()), 2);
        // The second time the record is gone; its order may still be stored.
        env.kafka().delete_records(&env.topic(), 0, 1);
    }
}

#[test]
fn with_all_every_topic_of_the_cluster_is_listed() {
    let env = Env::with_partitions(4);
    let other = format!("{}-of-others", env.topic());
    env.kafka().create_topic(&other, 1);
    let own = env.orders(&["create-topics"]).run().succeeds();
    assert!(!own.stdout.contains(&other), "{}", own.stdout);
    let all = env.orders(&["create-topics", "--all"]).run().succeeds();
    for (topic, rest) in [(other, "1"), (env.topic(), "4"), (env.found_topic(), "1")] {
        let line = all
            .stdout
            .lines()
            .find(|line| line.split(' ').next() == Some(topic.as_str()));
        let line = line.unwrap_or_else(|| panic!("no `{topic}` in\n{}", all.stdout));
        assert_eq!(line.split_whitespace().nth(1), Some(rest), "{line}");
    }
}

#[test]
fn with_json_the_topics_are_one_document() {
    let env = Env::with_partitions(2);
    env.kafka().produce(&env.topic(), &[an_order()]);
    let args = ["create-topics", "--partitions", "2", "--output", "json"];
    let ran = env.orders(&args).run().succeeds();
    let offsets = |low: i64, high: i64| json!({ "low": low, "high": high });
    let empty = |name: String| json!({ "name": name, "partitions": 1, "replicas": 1, "records": 0, "offsets": [offsets(0, 0)] });
    let expected = json!({
        "topics": [
            {
                "name": env.topic(), "partitions": 2, "replicas": 1, "records": 1,
                "offsets": [offsets(0, 1), offsets(0, 0)]
            },
            empty(env.lookup_topic()),
            empty(env.found_topic()),
        ],
        "differences": [],
    });
    assert_eq!(ran.json(), expected);
}

#[test]
fn more_copies_than_brokers_are_a_mistake_of_usage() {
    let env = Env::new();
    let ran = env
        .orders(&["create-topics", "--replication-factor", "3"])
        .run()
        .exits(2);
    let said = "error: `--replication-factor` is 3, and the cluster has 1 broker(s)\n\
                hint: ask for fewer copies, or add brokers\n";
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", said));
    assert_eq!(env.kafka().partitions(&env.topic()), 0);
}
