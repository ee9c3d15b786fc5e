//! Kafka that asks for a password or a certificate, over TLS: the settings of docs/security.md work, and
//! a wrong one is named.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use support::certificates::Identity;
use support::orders::order;
use support::process::Orders;
use support::{Env, PrivateKafka, returns_within};

use super::protected::blocks;

/// A setting that cannot work is reported within this time.
const REPORTED: Duration = Duration::from_secs(8);

/// One listener asks for a password, another for a certificate; of their users only `orders-api` has
/// any right.
const SETTINGS: &str = "\
listener.security.protocol.map=PASSWORDS:SASL_SSL,CLIENTS:SSL,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
listener.name.passwords.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.passwords.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.truststore.type=PEM
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:orders-api";

/// A broker, and how the documentation tells a client to reach it.
struct ProtectedKafka {
    kafka: PrivateKafka,
    /// The listener that asks for a password, and KAFKA_PROPERTIES as a line of `.env`.
    password: (String, String),
    /// The one that asks for a certificate.
    certificate: (String, String),
}

impl ProtectedKafka {
    /// With its files in this folder: those of the documentation, an authority `other-ca.pem` that
    /// signed nothing, and `other.pem` and `other.key`, which it did sign.
    fn start(folder: &Path) -> ProtectedKafka {
        let [authority, other] = [(); 2].map(|()| Identity::authority("an authority"));
        let [user, unknown] = [&authority, &other].map(|by| by.sign("orders-api"));
        let broker = authority.sign("127.0.0.1");
        for (name, pem) in [
            ("broker.pem", [broker.key(), broker.certificate()].concat()),
            ("kafka-ca.pem", authority.certificate()),
            ("other-ca.pem", other.certificate()),
            ("orders-api.pem", user.certificate()),
            ("orders-api.key", user.key()),
            ("other.pem", unknown.certificate()),
            ("other.key", unknown.key()),
        ] {
            fs::write(folder.join(name), pem).expect("the folder is writable");
        }
        let in_folder = |text: String| text.replace("/etc/orders", &folder.display().to_string());
        let [credential, mapping]: [String; 2] =
            blocks("properties").try_into().expect("there are two");
        let files = "ssl.keystore.location=/etc/orders/broker.pem\n\
                     ssl.truststore.location=/etc/orders/kafka-ca.pem";
        let settings = in_folder(format!("{SETTINGS}\n{mapping}{files}"));
        let (kafka, [passwords, clients]) =
            PrivateKafka::with_listeners(["PASSWORDS", "CLIENTS"], &settings);

        fs::write(folder.join("orders-api.properties"), credential).expect("it is writable");
        let [add_user, _]: [String; 2] = blocks("sh").try_into().expect("there are two");
        let add_user =
            add_user.replace("ADMIN", &format!("--bootstrap-server {}", kafka.brokers()));
        let mut command = kafka.java("kafka.admin.ConfigCommand");
        let arguments = add_user.split_whitespace().skip(1);
        let added = command.args(arguments).current_dir(folder).output();
        let added = added.expect("java is there");
        assert!(added.status.success(), "{added:?}");
        let [password, certificate]: [String; 2] = blocks("env").try_into().expect("there are two");
        ProtectedKafka {
            kafka,
            password: (passwords, in_folder(password)),
            certificate: (clients, in_folder(certificate)),
        }
    }
}

/// A command with this listener, and this line in its `.env`.
fn run<'a>(env: &'a Env, command: &[&str], (listener, line): &(String, String)) -> Orders<'a> {
    let file = env.path().join(format!("{}.env", uuid::Uuid::new_v4()));
    fs::write(&file, line).expect("the folder is writable");
    env.orders(command)
        .env("KAFKA_BROKERS", listener)
        .arg("--env-file")
        .arg(file)
}

#[test]
fn kafka_with_passwords_or_certificates_works_as_documented_and_a_wrong_setting_is_named() {
    let mut env = Env::empty();
    let protected = ProtectedKafka::start(env.path());
    let ProtectedKafka {
        kafka,
        password,
        certificate,
    } = &protected;
    env.brokers = kafka.brokers();
    let env = &env;

    // The second API reads what the first accepted through the lookup topics.
    for (uid, settings) in [("by-password", password), ("by-certificate", certificate)] {
        let up = run(env, &["up"], settings).env("CACHE_LOAD_LIMIT", "0");
        let mut up = up.start();
        up.accepts(uid);
        env.wait_until_applied();
        for uid in ["by-password", uid] {
            let found = up.get_order(uid);
            assert_eq!((found.status, found.json()), (200, order(uid)));
        }
        up.stop();
    }

    let changed = |(listener, line): &(String, String), from: &str, to: &str| {
        assert!(line.contains(from), "{line}");
        (listener.clone(), line.replace(from, to))
    };
    let with_files = |(listener, line): &(String, String), to: &str| {
        let (before, after) = line
            .split_once(",ssl.certificate.location=")
            .expect("it is set");
        let quote = &after[after.rfind('\'').expect("it is quoted")..];
        (listener.clone(), format!("{before}{to}{quote}"))
    };
    let others = format!(
        ",ssl.certificate.location={0}/other.pem,ssl.key.location={0}/other.key",
        env.path().display()
    );
    let ca = "verify that ssl.ca.location is correctly configured";
    let user = "check sasl.mechanism, sasl.username and sasl.password in KAFKA_PROPERTIES";
    let own = "check ssl.certificate.location and ssl.key.location in KAFKA_PROPERTIES";
    let wrong = [
        (changed(password, "change-me", "s3cr3t"), user),
        (changed(password, "kafka-ca.pem", "other-ca.pem"), ca),
        (changed(certificate, "kafka-ca.pem", "other-ca.pem"), ca),
        (with_files(certificate, ""), own),
        (with_files(certificate, &others), own),
    ];
    thread::scope(|scope| {
        for (settings, remedy) in &wrong {
            scope.spawn(move || {
                let check = run(env, &["create-topics", "--check"], settings);
                let checked = returns_within(REPORTED, || check.run()).exits(5);
                let checked = checked.reports(remedy);
                let secrets = ["s3cr3t", "change-me", "PRIVATE KEY"];
                let told = secrets.map(|secret| checked.stderr.contains(secret));
                assert_eq!(told, [false; 3], "{}", checked.stderr);
            });
            scope.spawn(move || {
                // The service waits for a repaired broker. Its first warning mostly has the remedy too,
                // unless the client says that all brokers are down before it says why.
                let mut api = run(env, &["serve-api"], settings).spawn();
                api.wait_until_unready(remedy);
                assert!(api.is_running());
            });
        }
    });
}
