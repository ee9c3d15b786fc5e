//! The rights that docs/security.md gives each role: they are enough for it, and no more.

use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use postgres::error::SqlState;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use support::database::{Db, connect};
use support::orders::order;
use support::private::free_address;
use support::{Env, PrivateKafka, PrivateNginx, PrivatePostgres, TIMEOUT, eventually};

/// What docs/security.md has between fences of this language.
pub fn blocks(language: &str) -> Vec<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md");
    let text = fs::read_to_string(file).expect("it is there");
    let begin = format!("```{language}\n");
    let blocks = text.split(&begin).skip(1);
    let inside = |rest: &str| rest.split("```").next().unwrap_or_default().to_owned();
    blocks.map(inside).collect()
}

fn run(url: &str, statements: &str) {
    let mut db = Db::open(url);
    // One by one: CREATE DATABASE runs in no transaction.
    for statement in statements.split(';').filter(|it| !it.trim().is_empty()) {
        db.run(statement);
    }
}

#[test]
fn the_database_roles_of_the_documentation_do_their_work_and_no_more() {
    let postgres = PrivatePostgres::start();
    let mut env = Env::on_postgres(&postgres);
    let [server, database]: [String; 2] = blocks("sql").try_into().expect("there are two");
    run(&postgres.url(), &server);
    let (address, _) = postgres.url().rsplit_once('/').map(owned).expect("a URL");
    env.db_url = format!("{address}/orders");
    run(&env.db_url, &database);
    let url_of = |role: &str| env.db_url.replace("postgres@", &format!("{role}@"));
    let [owner, writer, reader] = ["orders_owner", "orders_writer", "orders_reader"].map(url_of);

    env.orders(&["migrate"])
        .env("DB_URL", &owner)
        .run()
        .succeeds();
    env.orders(&["create-topics"]).run().succeeds();
    let consumer = env.consume().env("DB_URL", &writer).start();
    let api = env.serve_api().env("DB_URL", &reader).start();
    assert_eq!(api.post_order("a").status, 202);
    assert_eq!(api.post(r#"{"order_uid":"a","#).status, 400);
    env.wait_until_applied();
    drop(api);
    let api = env.serve_api().env("DB_URL", &reader).start();
    api.wait_for_line("the cache was warmed up with 1 orders");
    assert_eq!(api.get_order("a").json(), order("a"));
    let exported = env.orders(&["export"]).env("DB_URL", &reader);
    assert_eq!(exported.run().succeeds().stdout.lines().count(), 1);
    consumer.wait_ready();

    for (role, statement) in [
        (&reader, "DELETE FROM orders"),
        (&reader, "INSERT INTO orders (order_uid) VALUES ('forged')"),
        (&reader, "UPDATE log_positions SET next_offset = 0"),
        (&reader, "CREATE TABLE mine ()"),
        (&writer, "DROP TABLE orders CASCADE"),
        (&writer, "ALTER TABLE orders DISABLE TRIGGER ALL"),
        (&writer, "CREATE TABLE mine ()"),
    ] {
        let refused = connect(role).batch_execute(statement).unwrap_err();
        assert_eq!(
            refused.code(),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            "{statement}"
        );
    }
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

/// The second listener authenticates, the first is for the test: its user may do everything.
const AUTHORIZER: &str = "\
listener.security.protocol.map=PROXIED0:SASL_PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
listener.name.proxied0.sasl.enabled.mechanisms=PLAIN
listener.name.proxied0.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
required user_orders-admin=\"s\" user_orders-api=\"s\" user_orders-consumer=\"s\" user_nobody=\"s\";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS";

/// A Kafka client of one user.
struct Principal(ClientConfig);

impl Principal {
    fn new(brokers: &str, user: &str) -> Principal {
        let mut settings = ClientConfig::new();
        for (key, value) in [
            ("bootstrap.servers", brokers),
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", user),
            ("sasl.password", "s"),
            // The client requires one, and here it is never used.
            ("group.id", "tests"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("log_level", "0"),
        ] {
            settings.set(key, value);
        }
        Principal(settings)
    }

    fn may_write(&self, topic: &str) -> bool {
        let producer: BaseProducer<Delivered> = self
            .0
            .create_with_context(Delivered::default())
            .expect("the settings are valid");
        let record = BaseRecord::<str, str>::to(topic).key("a").payload("x");
        producer.send(record).expect("the queue is empty");
        producer.flush(TIMEOUT).expect("the broker answers");
        let outcome = producer.context().0.lock().expect("no panic").take();
        let outcome = outcome.expect("it was delivered or refused");
        outcome.map_or_else(|error| refused(error.rdkafka_error_code()), |()| true)
    }

    fn may_read(&self, topic: &str) -> bool {
        let consumer: BaseConsumer = self.0.create().expect("the settings are valid");
        // Who may not describe it gets no error from reading.
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT);
        let metadata = metadata.expect("the broker answers");
        if let Some(error) = metadata.topics()[0].error() {
            return refused(Some(error.into()));
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning)
            .expect("the offset is valid");
        consumer.assign(&list).expect("it can be assigned");
        eventually("a record, the end or a refusal", TIMEOUT, || match consumer
            .poll(Duration::from_millis(100))?
        {
            Ok(_) | Err(KafkaError::PartitionEOF(_)) => Some(true),
            Err(error) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::GroupAuthorizationFailed) => None,
                code => Some(refused(code)),
            },
        })
    }
}

/// Panics unless the topic is what the user has no right to.
fn refused(code: Option<RDKafkaErrorCode>) -> bool {
    assert_eq!(code, Some(RDKafkaErrorCode::TopicAuthorizationFailed));
    false
}

/// What became of the one record of a producer.
#[derive(Default)]
struct Delivered(Mutex<Option<Result<(), KafkaError>>>);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let outcome = result.as_ref().map(|_| ());
        *self.0.lock().expect("no panic") = Some(outcome.map_err(|(error, _)| error.clone()));
    }
}

#[test]
fn the_kafka_rights_of_the_documentation_do_their_work_and_no_more() {
    let (kafka, [listener]) = PrivateKafka::behind_proxies(AUTHORIZER);
    let env = Env::on_kafka(&kafka);
    env.orders(&["migrate"]).run().succeeds();
    let [_, rights]: [String; 2] = blocks("sh").try_into().expect("there are two");
    let rights = rights
        .replace("ADMIN", &format!("--bootstrap-server {}", kafka.brokers()))
        .replace("--topic orders", &format!("--topic {}", env.topic()))
        .replace("order-lookup-group", &env.lookup_group())
        .replace("order-service-group", &env.group())
        .replace(
            "--topic order-lookup",
            &format!("--topic {}", env.lookup_topic()),
        )
        .replace(
            "--topic order-found",
            &format!("--topic {}", env.found_topic()),
        );
    thread::scope(|scope| {
        for line in rights.lines().filter(|line| !line.starts_with('#')) {
            let arguments = line.strip_prefix("kafka-acls.sh ").expect("the command");
            let mut command = kafka.java("org.apache.kafka.tools.AclCommand");
            command.args(arguments.split(' '));
            scope.spawn(move || {
                let added = command.output().expect("java is there");
                assert!(added.status.success(), "{line}: {added:?}");
            });
        }
    });
    let run = |args: &[&str], user: &str| {
        let properties = format!(
            "security.protocol=SASL_PLAINTEXT,sasl.mechanism=PLAIN,sasl.username={user},\
             sasl.password=s"
        );
        env.orders(args)
            .env("KAFKA_BROKERS", listener.address().to_string())
            .env("KAFKA_PROPERTIES", properties)
    };
    run(&["create-topics"], "nobody").run().exits(1);
    run(&["create-topics"], "orders-admin").run().succeeds();
    run(&["create-topics", "--check"], "orders-admin")
        .run()
        .succeeds();
    let mut consumer = run(&["consume"], "orders-consumer").start();
    let api = || {
        run(&["serve-api"], "orders-api")
            .env("CACHE_LOAD_LIMIT", "0")
            .start()
    };
    assert_eq!(api().post_order("a").status, 202);
    env.wait_until_applied();
    // With an empty cache: through both lookup topics.
    let mut api = api();
    let found = api.get_order("a");
    assert_eq!((found.status, found.json()), (200, order("a")));
    // A consumer that starts at a position reads the record before it again.
    consumer.stop();
    let _consumer = run(&["consume"], "orders-consumer").start();
    api.accepts("b");
    env.wait_until_applied();
    // It follows topics without a group, and has a right to none.
    let lines = api.lines();
    assert!(
        !lines.iter().any(|line| line.contains("WARN")),
        "{lines:#?}"
    );
    api.stop_within(Duration::from_secs(5));

    let topics = [env.topic(), env.lookup_topic(), env.found_topic()];
    let brokers = listener.address().to_string();
    // Whether each user may write, and read, the three topics.
    let rights = [
        ("orders-admin", [(false, false); 3]),
        ("orders-api", [(true, true), (true, false), (false, true)]),
        (
            "orders-consumer",
            [(false, true), (false, true), (true, false)],
        ),
        ("nobody", [(false, false); 3]),
    ];
    thread::scope(|scope| {
        for (user, rights) in rights {
            for (topic, expected) in topics.iter().zip(rights) {
                let principal = Principal::new(&brokers, user);
                scope.spawn(move || {
                    let may = (principal.may_write(topic), principal.may_read(topic));
                    assert_eq!(may, expected, "{user} {topic}");
                });
            }
        }
    });

    // The consumer may not post orders.
    let posing = run(&["serve-api"], "orders-consumer").spawn();
    let posted = posing.post_order("forged");
    assert_eq!(posted.status, 503, "{}", posted.text());
}

#[test]
fn tls_and_a_path_prefix_by_nginx_as_documented_carry_tokens() {
    let env = Env::embedded();
    let folder = env.path();
    let certify = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                   -keyout key.pem -out ca.pem -subj /CN=localhost -addext \
                   subjectAltName=DNS:localhost,IP:127.0.0.1";
    let mut openssl = Command::new("openssl");
    openssl
        .args(certify.split_whitespace().skip(1))
        .current_dir(folder);
    let made = openssl.output().expect("openssl is there");
    assert!(made.status.success(), "{made:?}");

    let scopes = "orders:write,orders:read";
    let args = ["token", "shop", "--scope", scopes, "--output", "json"];
    let token = env.orders(&args).run().succeeds().json();
    let tokens = folder.join("tokens");
    fs::write(&tokens, token["line"].as_str().expect("a line")).expect("it is writable");
    let up = env.orders(&["up"]).env("AUTH_TOKENS_FILE", &tokens).start();

    let [documented]: [String; 1] = blocks("nginx").try_into().expect("there is one");
    let (_, inside) = documented.split_once("server {").expect("a server");
    let inside = inside.trim_end().strip_suffix('}').expect("it ends");
    let address = free_address();
    let (_, port) = address.rsplit_once(':').expect("it has a port");
    let place = |file: &str| format!(" {}", folder.join(file).display());
    let directives = inside
        .replace("listen 443 ssl", &format!("listen {address} ssl"))
        .replace(" /etc/ssl/certs/shop.example.pem", &place("ca.pem"))
        .replace(" /etc/ssl/private/shop.example.key", &place("key.pem"))
        .replace("http://127.0.0.1:8080/", &format!("{}/", up.url()));
    let _nginx = PrivateNginx::start(&directives);

    fs::write(folder.join("one.json"), order("one").to_string()).expect("it is writable");
    let run = |args: &[&str], token: &str| {
        env.orders(args)
            .env("ORDERS_API_URL", format!("https://localhost:{port}/shop"))
            .env("SSL_CERT_FILE", folder.join("ca.pem"))
            .env("ORDERS_TOKEN", token)
            .run()
    };
    let token = token["token"].as_str().expect("a token");
    run(&["send", "one.json"], token).succeeds();
    let got = run(&["get", "one", "--output", "json"], token).succeeds();
    assert_eq!(got.json(), order("one"));
    let refused = run(&["get", "one"], "orders_other").exits(2);
    assert!(refused.stderr.contains("(401)"), "{}", refused.stderr);
}
