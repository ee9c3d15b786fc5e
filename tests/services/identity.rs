//! How a service names itself: its first log line, its positions, its Kafka clients.

use support::{Engines, Env, Process, TIMEOUT, eventually, group_offsets, on_both_engines};

on_both_engines! {
    [
        the_first_line_of_a_service_says_what_runs_and_on_what,
        positions_carry_the_process_that_owns_them,
    ]
}

fn host_and_pid(process: &Process) -> String {
    let host = rustix::system::uname();
    format!("{}:{}", host.nodename().to_string_lossy(), process.id())
}

fn the_first_line_of_a_service_says_what_runs_and_on_what(engines: &Engines) {
    let env = engines.ready();
    let services = [(env.serve_api(), "api"), (env.consume(), "consumer")];
    for (service, role) in services {
        let process = service
            .file(".env", "CACHE_TTL_SECONDS=60\n")
            .without_env("KAFKA_FOUND_TOPIC")
            .spawn();
        process.wait_for_line("starts");
        let line = process.lines().remove(0);
        let version = env!("CARGO_PKG_VERSION");
        let topics = format!("{}, {}, order-found", env.topic(), env.lookup_topic());
        let mut parts = vec![
            format!(
                " INFO orders {version} starts pid={} role=\"{role}\"",
                process.id()
            ),
            format!("topics=\"{topics}\""),
            format!("env_file=\"{}\"", env.path().join(".env").display()),
        ];
        match engines {
            Engines::Servers => {
                parts.push(format!("log=\"Kafka at `{}`\"", env.brokers));
                parts.push("store=\"PostgreSQL\"".into());
            }
            Engines::Embedded => {
                let folder = env.data_dir().display();
                parts.push(format!("log=\"the embedded log in `{folder}`\""));
                parts.push(format!("store=\"{}\"", env.db_url));
            }
        }
        if role == "consumer" {
            parts.push(format!("group=\"{}\"", env.group()));
        }
        for part in parts {
            assert!(line.contains(&part), "no `{part}` in {line}");
        }
    }
}

fn positions_carry_the_process_that_owns_them(engines: &Engines) {
    let env = engines.ready();
    let consumer = env.consumer();
    let owner = "SELECT owner_host FROM log_positions";
    env.db().eventually(owner, host_and_pid(&consumer));
}

#[test]
fn the_first_line_has_no_password() {
    let env = Env::ready();
    let url = env.db_url.replace("postgres@", "postgres:hunter2@");
    let consumer = env.consume().env("DB_URL", url).spawn();
    let line = consumer.wait_for_line("starts");
    assert!(line.contains("store=\"PostgreSQL\""), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
}

#[test]
fn a_kafka_client_is_named_by_role_host_and_pid() {
    let env = Env::ready();
    let consumer = env.consumer();
    let expected = format!("orders-consumer@{}", host_and_pid(&consumer));
    eventually("a member of that name", TIMEOUT, || {
        let members = group_offsets::client_ids(&env);
        (members == [expected.as_str()]).then_some(())
    });
}
