//! `orders create-topics`: topics created, checked, grown or refused.

use serde_json::json;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::{Engines, Env, PrivateKafka};

on_both_engines! {
    [
        missing_topics_are_created_and_a_second_run_changes_nothing,
        a_check_of_missing_topics_exits_with_3_and_creates_none,
        a_setting_changed_later_is_reported_as_drift,
        an_empty_topic_is_grown_to_the_requested_partitions,
        a_topic_that_had_records_is_not_grown,
        with_all_every_topic_of_the_cluster_is_listed,
        with_json_the_topics_are_one_document,
        a_replication_factor_above_the_number_of_brokers_is_a_usage_error,
    ]
}

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
    let (partitions, offsets) = if env.is_embedded() {
        (1, "0-0")
    } else {
        (4, "0-0 0-0 0-0 0-0")
    };
    table(&[
        (env.topic(), partitions, 0, offsets),
        (env.lookup_topic(), 1, 0, "0-0"),
        (env.found_topic(), 1, 0, "0-0"),
    ])
}

fn an_order() -> RawRecord {
    RawRecord::new("uid", "an order").to(0)
}

fn missing_topics_are_created_and_a_second_run_changes_nothing(engines: &Engines) {
    let env = engines.empty();
    let first = env.orders(&["create-topics"]).run().succeeds();
    let (orders, lookup, found) = (env.topic(), env.lookup_topic(), env.found_topic());
    let created = format!("created `{orders}`, `{lookup}`, `{found}`\n");
    first.prints(&untouched(&env), &created);

    for args in [&["create-topics"][..], &["create-topics", "--check"]] {
        let again = env.orders(args).run().succeeds();
        again.prints(&untouched(&env), "");
    }
}

#[test]
fn a_topic_that_the_broker_refuses_is_1_with_the_brokers_own_reason() {
    let env = Env::empty();
    let (existing, colliding) = (
        format!("{}.a_b", env.topic()),
        format!("{}_a.b", env.topic()),
    );
    env.kafka().create_topic(&existing, 1);
    let create = env
        .orders(&["create-topics"])
        .env("KAFKA_TOPIC", &colliding);
    let ran = create.run().exits(1);
    let ran = ran.reports(&format!("could not create topic `{colliding}`: "));
    let ran = ran.reports("collides with existing topic");
    assert!(
        !ran.stderr.contains("it may have succeeded"),
        "{}",
        ran.stderr
    );
}

/// Users `admin` and `guest`; the broker itself connects without one.
const SASL: &str = "\
listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
required username=\"admin\" password=\"right\" user_admin=\"right\" user_guest=\"right\";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
";

#[test]
fn a_client_that_cannot_connect_or_may_not_change_anything_reports_why() {
    let kafka = PrivateKafka::with_settings(SASL);
    let env = Env::on_kafka(&kafka);
    let create = |wait: &str, properties: &str| {
        let args = ["create-topics", "--wait", wait];
        env.orders(&args).env("KAFKA_PROPERTIES", properties).run()
    };
    let login = |user: &str, password: &str| {
        format!(
            "security.protocol=SASL_PLAINTEXT,sasl.mechanism=PLAIN,sasl.username={user},\
             sasl.password={password}"
        )
    };
    // What a client without SASL sees of a listener that requires it.
    create("1s", "").exits(5).reports("Disconnected");
    let wrong = create("1s", &login("admin", "wrong")).exits(5);
    let wrong = wrong.reports("Authentication failed");
    let hint = "hint: check that it runs, and KAFKA_BROKERS and KAFKA_PROPERTIES";
    let wrong = wrong.reports(hint);
    assert!(!wrong.stderr.contains("wrong"), "{}", wrong.stderr);
    create("10s", &login("guest", "right"))
        .exits(1)
        .reports("uthorization failed");
    // Services retry, and report it in /readyz.
    for (command, properties) in [
        ("serve-api", login("admin", "wrong")),
        ("consume", login("admin", "wrong")),
    ] {
        let service = env.orders(&[command]).env("KAFKA_PROPERTIES", properties);
        let service = service.spawn();
        service.wait_until_unready("Authentication failed");
    }
}

#[test]
fn a_broker_that_advertises_an_unknown_host_is_named() {
    let kafka = PrivateKafka::with_settings("advertised.listeners=PLAINTEXT://kafka.invalid:9092");
    let env = Env::on_kafka(&kafka);
    let create = env.orders(&["create-topics", "--wait", "1s"]).run();
    create
        .exits(5)
        .reports("Failed to resolve 'kafka.invalid:9092'");
    let api = env.serve_api().spawn();
    api.wait_until_unready("Failed to resolve 'kafka.invalid:9092'");
}

#[test]
fn the_records_of_topics_are_counted() {
    let env = Env::with_partitions(2);
    env.kafka()
        .produce(&env.topic(), &[an_order(), an_order(), an_order().to(1)]);
    env.kafka().delete_records(&env.topic(), 0, 1);
    let args = ["create-topics", "--partitions", "2"];
    let listed = env.orders(&args).run().succeeds();
    let expected = table(&[
        (env.topic(), 2, 2, "1-2 0-1"),
        (env.lookup_topic(), 1, 0, "0-0"),
        (env.found_topic(), 1, 0, "0-0"),
    ]);
    listed.prints(&expected, "");
}

fn a_check_of_missing_topics_exits_with_3_and_creates_none(engines: &Engines) {
    let env = engines.empty();
    let checked = env.orders(&["create-topics", "--check"]).run().exits(3);
    let warnings = [env.topic(), env.lookup_topic(), env.found_topic()]
        .map(|topic| format!("warning: topic `{topic}` is missing\n"))
        .concat();
    checked.prints("topic  partitions  replicas  records  offsets\n", &warnings);
    assert_eq!(env.log().partitions(&env.topic()), 0);
}

#[test]
fn a_topic_that_differs_is_reported_not_changed_and_3_for_a_check() {
    let env = Env::empty();
    // With the broker's own settings.
    env.kafka().create_topic(&env.topic(), 2);
    let ran = env.orders(&["create-topics"]).run().succeeds();
    let topic = env.topic();
    let differences: [String; 3] = [
        format!("topic `{topic}` has 2 partition(s), not 4"),
        format!("topic `{topic}` has message.timestamp.after.max.ms=3600000, not 300000"),
        format!("topic `{topic}` has retention.ms=604800000, not 2592000000"),
    ];
    let warnings = differences.each_ref();
    let warnings = warnings.map(|text| format!("warning: {text}\n")).concat();
    let (lookup, found) = (env.lookup_topic(), env.found_topic());
    let created = format!("created `{lookup}`, `{found}`\n");
    assert_eq!(ran.stderr, created + &warnings);

    let checked = env.orders(&["create-topics", "--check"]).run().exits(3);
    checked.prints(&ran.stdout, &warnings);
    let check = ["create-topics", "--check", "--output", "json"];
    let json = env.orders(&check).run().exits(3);
    assert_eq!(json.json()["differences"], json!(differences));
    assert_eq!(env.kafka().partitions(&topic), 2);
}

fn a_setting_changed_later_is_reported_as_drift(engines: &Engines) {
    let env = engines.with_partitions(engines.select(4, 1));
    env.orders(&["create-topics", "--check"]).run().succeeds();
    env.log()
        .configure_topic(&env.lookup_topic(), "retention.ms", "1000");
    let (of_orders, from, to) = engines.select(
        ("unclean.leader.election.enable", "true", "false"),
        ("retention.ms", "1000", "2592000000"),
    );
    env.log().configure_topic(&env.topic(), of_orders, from);
    let checked = env.orders(&["create-topics", "--check"]).run().exits(3);
    let (orders, lookup) = (env.topic(), env.lookup_topic());
    checked
        .reports(&format!(
            "warning: topic `{lookup}` has retention.ms=1000, not 3600000\n"
        ))
        .reports(&format!(
            "warning: topic `{orders}` has {of_orders}={from}, not {to}\n"
        ));
}

fn an_empty_topic_is_grown_to_the_requested_partitions(engines: &Engines) {
    let env = engines.with_partitions(1);
    let args = ["create-topics", "--partitions", "3"];
    let grown = env.orders(&args).run().succeeds();
    let topic = env.topic();
    let report = format!("added partitions to `{topic}`, which has no records: it has 3 now\n");
    assert_eq!(grown.stderr, report);
    assert_eq!(env.log().partitions(&topic), 3);
}

fn a_topic_that_had_records_is_not_grown(engines: &Engines) {
    let env = engines.with_partitions(2);
    let refused = format!(
        "topic `{}` has 2 partition(s), not 3, and none can be added: it has had records, and an \
         order's next version would go to another partition",
        env.topic()
    );
    env.log().produce(&env.topic(), &[an_order()]);
    for _ in 0..2 {
        let args = ["create-topics", "--partitions", "3"];
        let ran = env.orders(&args).run().exits(1);
        let hint = "hint: create a topic of another name, and set KAFKA_TOPIC to it\n";
        assert_eq!(ran.stderr, format!("error: {refused}\n{hint}"));
        let check = ["create-topics", "--partitions", "3", "--check"];
        let checked = env.orders(&check).run().exits(3);
        assert_eq!(checked.stderr, format!("warning: {refused}\n"));
        assert_eq!(env.log().partitions(&env.topic()), 2);
        // The second time the record is deleted; its order may still be stored.
        if *engines == Engines::Servers {
            env.kafka().delete_records(&env.topic(), 0, 1);
        }
    }
}

fn with_all_every_topic_of_the_cluster_is_listed(engines: &Engines) {
    let env = engines.with_partitions(4);
    let other = format!("{}-of-others", env.topic());
    env.orders(&["create-topics", "--partitions", "1"])
        .env("KAFKA_TOPIC", &other)
        .run()
        .succeeds();
    let own = env.orders(&["create-topics"]).run().succeeds();
    assert!(!own.stdout.contains(&other), "{}", own.stdout);
    let all = env.orders(&["create-topics", "--all"]).run().succeeds();
    for (topic, partitions) in [(other, "1"), (env.topic(), "4"), (env.found_topic(), "1")] {
        let start = format!("{topic} ");
        let line = all.stdout.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("no `{topic}` in\n{}", all.stdout));
        assert_eq!(line.split_whitespace().nth(1), Some(partitions), "{line}");
    }
}

fn with_json_the_topics_are_one_document(engines: &Engines) {
    let env = engines.with_partitions(2);
    let placed = env.log().produce(&env.topic(), &[an_order()]);
    let args = ["create-topics", "--partitions", "2", "--output", "json"];
    let ran = env.orders(&args).run().succeeds();
    let offsets = |low: i64, high: i64| json!({ "low": low, "high": high });
    let filled = [0, 1].map(|partition| offsets(0, i64::from(placed[0].partition == partition)));
    let empty = |name: String| json!({ "name": name, "partitions": 1, "replicas": 1, "records": 0, "offsets": [offsets(0, 0)] });
    let expected = json!({
        "topics": [
            {
                "name": env.topic(), "partitions": 2, "replicas": 1, "records": 1,
                "offsets": filled
            },
            empty(env.lookup_topic()),
            empty(env.found_topic()),
        ],
        "differences": [],
    });
    assert_eq!(ran.json(), expected);
}

fn a_replication_factor_above_the_number_of_brokers_is_a_usage_error(engines: &Engines) {
    let env = engines.empty();
    let args = ["create-topics", "--replication-factor", "3", "--wait", "0s"];
    let error = "error: `--replication-factor` is 3, and the cluster has 1 broker(s)\n\
                 hint: request fewer replicas, or add brokers\n";
    env.orders(&args).run().exits(2).prints("", error);
    assert_eq!(env.log().partitions(&env.topic()), 0);
}
