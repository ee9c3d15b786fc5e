//! `orders config`: every setting with its origin, and those of running services.

use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use support::process::{Output, orders};
use support::{Env, Process, returns_within};

/// A service that does not answer costs 800 ms; the rest is the machine's.
const SOON: Duration = Duration::from_secs(5);

/// A plain table: two spaces between columns, none at the end of a line.
fn table(rows: &[Vec<&str>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<&str>| {
        let cells = row.iter().zip(&widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

/// The variables without a flag, unset but for HOME.
fn without_flag(home: &str) -> Vec<Vec<&str>> {
    let names = "CACHE_JANITOR_S ORDERS_TOKEN ORDERS_FAILPOINT ORDERS_TEST_TIMEOUTS HOME PGHOST \
                 PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGOPTIONS PGSSLMODE \
                 PGSSLROOTCERT PGSSLCERT PGSSLKEY PGCHANNELBINDING PGTARGETSESSIONATTRS \
                 PGLOADBALANCEHOSTS PGCONNECT_TIMEOUT PGREQUIREAUTH PGREQUIREPEER PGSERVICE \
                 PGSSLCRL PGSSLCRLDIR";
    let row = |name| match name {
        "HOME" => vec![name, home, "environment"],
        _ => vec![name, "", "default"],
    };
    names.split(' ').map(row).collect()
}

#[test]
fn every_setting_is_shown_with_its_origin_and_without_secrets() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join(".env");
    let of_file = file.display().to_string();
    let ran = orders("config --topic new-orders -X ssl.key.password=s3cret")
        .current_dir(folder.path())
        .env("HOME", "/home/me")
        .env("DB_URL", "postgresql://me:s3cret@db/orders")
        .env("ORDERS_TOKEN", "s3cret")
        .file(
            ".env",
            "KAFKA_BROKERS=k1:9092\nPGPASSWORD=s3cret\nDB_URL=x\n",
        )
        .run()
        .succeeds();
    let mut rows = vec![
        vec!["setting", "value", "origin"],
        vec!["KAFKA_BROKERS", "k1:9092", &of_file],
        vec!["KAFKA_TOPIC", "new-orders", "flag"],
        vec!["KAFKA_LOOKUP_TOPIC", "order-lookup", "default"],
        vec!["KAFKA_FOUND_TOPIC", "order-found", "default"],
        vec!["KAFKA_PROPERTIES", "", "default"],
        vec!["-X", "ssl.key.password=***", "flag"],
        vec!["DB_URL", "postgresql://me:***@db/orders", "environment"],
        vec!["ORDERS_DATA_DIR", "./orders-data", "default"],
        vec!["KAFKA_GROUP", "order-service-group", "default"],
        vec!["KAFKA_LOOKUP_GROUP", "order-lookup-group", "default"],
        vec!["HTTP_ADDR", "127.0.0.1:8080", "default"],
        vec!["KEEP_ALIVE_S", "75", "default"],
        vec!["MAX_CONNECTIONS", "1000", "default"],
        vec!["LOOKUP_WAIT_MS", "2000", "default"],
        vec!["DRAIN_DELAY", "0s", "default"],
        vec!["ADMIN_ADDR", "127.0.0.1:8081", "default"],
        vec!["ADMIN_ADDR (consume)", "127.0.0.1:8082", "default"],
        vec!["AUTH_TOKENS_FILE", "", "default"],
        vec!["ALLOW_UNAUTHENTICATED", "false", "default"],
        vec!["ALLOWED_HOSTS", "", "default"],
        vec!["CACHE_LOAD_LIMIT", "10", "default"],
        vec!["CACHE_TTL_SECONDS", "360", "default"],
        vec!["CACHE_MAX_BYTES", "48MiB", "default"],
        vec!["ORDERS_API_URL", "http://127.0.0.1:8080", "default"],
        vec!["ORDERS_TOKEN_FILE", "", "default"],
    ];
    rows.extend(without_flag("/home/me"));
    for row in &mut rows {
        match row[0] {
            "ORDERS_TOKEN" => *row = vec!["ORDERS_TOKEN", "***", "environment"],
            "PGPASSWORD" => *row = vec!["PGPASSWORD", "***", &of_file],
            _ => {}
        }
    }
    ran.prints(&table(&rows), "");
}

#[test]
fn with_json_the_settings_are_one_document() {
    let ran = orders("config --output json").env("ADMIN_ADDR", "127.0.0.1:1");
    let settings = ran.run().succeeds().json()["settings"].take();
    let find = |name: &str| -> Vec<Value> {
        let all = settings.as_array().expect("a list").iter();
        all.filter(|it| it["name"] == name).cloned().collect()
    };
    let admin = json!({ "name": "ADMIN_ADDR", "value": "127.0.0.1:1", "origin": "environment" });
    assert_eq!(find("ADMIN_ADDR"), [admin]);
    let brokers = json!({ "name": "KAFKA_BROKERS", "value": null, "origin": "default" });
    assert_eq!(find("KAFKA_BROKERS"), [brokers]);

    let unset = orders("config --output json").run().succeeds().json();
    let admin = json!({
        "name": "ADMIN_ADDR", "value": "127.0.0.1:8082", "origin": "default", "command": "consume"
    });
    assert!(
        unset["settings"]
            .as_array()
            .expect("a list")
            .contains(&admin)
    );
}

#[test]
fn foreign_text_in_a_setting_cannot_control_a_terminal() {
    let ran = orders("config")
        .env("KAFKA_GROUP", "a\u{202e}b")
        .run()
        .succeeds();
    assert!(
        ran.stdout.contains("KAFKA_GROUP            a\\u{202e}b  "),
        "{}",
        ran.stdout
    );
    let json = orders("config --output json").env("KAFKA_GROUP", "a\u{202e}b");
    assert!(json.run().succeeds().stdout.contains("\"a\\u202eb\""));
}

/// `orders config --running` for the services of this test.
fn running(env: &Env, arguments: &[&str]) -> Output {
    let command = orders("config --running").env("XDG_RUNTIME_DIR", env.path());
    let command = arguments
        .iter()
        .fold(command, |command, argument| command.arg(argument));
    returns_within(SOON, || command.run())
}

/// The rows of a service's settings; `env` has those that the environment sets.
fn settings_of<'a>(process: &str, env: &'a [(&'a str, String)]) -> Vec<Vec<&'a str>> {
    let value = |name: &str| {
        env.iter()
            .find(|(it, _)| *it == name)
            .map(|(_, value)| value.as_str())
    };
    let of_both = "KAFKA_BROKERS KAFKA_TOPIC KAFKA_LOOKUP_TOPIC KAFKA_FOUND_TOPIC KAFKA_PROPERTIES -X \
                   DB_URL ORDERS_DATA_DIR";
    let of_role = match process {
        "consumer" => {
            "KAFKA_GROUP KAFKA_LOOKUP_GROUP AUTH_TOKENS_FILE \
                       ALLOW_UNAUTHENTICATED ALLOWED_HOSTS ADMIN_ADDR"
        }
        _ => {
            "HTTP_ADDR KEEP_ALIVE_S MAX_CONNECTIONS LOOKUP_WAIT_MS DRAIN_DELAY ADMIN_ADDR \
              AUTH_TOKENS_FILE ALLOW_UNAUTHENTICATED ALLOWED_HOSTS CACHE_LOAD_LIMIT \
              CACHE_TTL_SECONDS CACHE_MAX_BYTES"
        }
    };
    let row = |name: &'a str| match (value(name), name) {
        (Some(value), _) => vec![name, value, "environment"],
        (None, "KEEP_ALIVE_S") => vec![name, "75", "default"],
        (None, "MAX_CONNECTIONS") => vec![name, "1000", "default"],
        (None, "LOOKUP_WAIT_MS") => vec![name, "2000", "default"],
        (None, "DRAIN_DELAY") => vec![name, "0s", "default"],
        (None, "ALLOW_UNAUTHENTICATED") => vec![name, "false", "default"],
        (None, "CACHE_LOAD_LIMIT") => vec![name, "10", "default"],
        (None, "CACHE_TTL_SECONDS") => vec![name, "360", "default"],
        (None, "CACHE_MAX_BYTES") => vec![name, "48MiB", "default"],
        (None, _) => vec![name, "", "default"],
    };
    let names = of_both.split(' ').chain(of_role.split(' '));
    let header = vec!["setting", "value", "origin"];
    let home = value("HOME").expect("every process has it");
    let rows = [header].into_iter().chain(names.map(row));
    rows.chain(without_flag(home)).collect()
}

/// The variables of every service of the test, but for the topic of the orders.
fn variables(env: &Env, topic: &str) -> Vec<(&'static str, String)> {
    let folder = env.path().display().to_string();
    vec![
        ("ORDERS_DATA_DIR", env.data_dir().display().to_string()),
        ("KAFKA_TOPIC", topic.to_owned()),
        ("KAFKA_LOOKUP_TOPIC", env.lookup_topic()),
        ("KAFKA_FOUND_TOPIC", env.found_topic()),
        ("KAFKA_GROUP", env.group()),
        ("KAFKA_LOOKUP_GROUP", env.lookup_group()),
        ("HTTP_ADDR", "127.0.0.1:0".into()),
        ("ADMIN_ADDR", "127.0.0.1:0".into()),
        ("HOME", folder),
    ]
}

/// The uptime in the line of a service.
fn uptime(line: &str) -> String {
    let uptime = regex::Regex::new("  ([0-9]+ (s|min))  ").expect("it is well-formed");
    let found = uptime
        .captures(line)
        .unwrap_or_else(|| panic!("no uptime in {line}"));
    found[1].to_owned()
}

#[test]
fn running_services_are_shown_with_their_settings_and_their_differences() {
    let env = Env::embedded().prepared(1);
    env.orders(&["create-topics"])
        .env("KAFKA_TOPIC", "other")
        .run()
        .succeeds();
    let consumer = env.consumer();
    let api = env.serve_api().env("KAFKA_TOPIC", "other").start();
    let pid = |process: &Process| process.id().to_string();
    let (api_pid, consumer_pid) = (pid(&api), pid(&consumer));
    let version = env!("CARGO_PKG_VERSION");
    let (http, api_admin) = (api.authority(), api.admin_authority());
    let admin = consumer.admin_authority();
    let ran = running(&env, &[]).succeeds();
    let mut lines = ran.stdout.lines().skip(1).map(uptime);
    let [api_up, consumer_up] = [(); 2].map(|()| lines.next().expect("two services run"));
    let overview = table(&[
        vec!["service", "pid", "version", "up", "api", "admin", "state"],
        vec![
            "api", &api_pid, version, &api_up, &http, &api_admin, "ready",
        ],
        vec![
            "consumer",
            &consumer_pid,
            version,
            &consumer_up,
            "",
            &admin,
            "ready",
        ],
    ]);
    let folder = env.path().display();
    let (of_api, of_consumer) = (variables(&env, "other"), variables(&env, &env.topic()));
    let expected = format!(
        "{overview}\n\
         api (pid {api_pid}) in {folder}\n{}\n\
         consumer (pid {consumer_pid}) in {folder}\n{}\n\
         KAFKA_TOPIC differs: `other` in api (pid {api_pid}), `{}` in consumer (pid {consumer_pid})\n",
        table(&settings_of("api", &of_api)),
        table(&settings_of("consumer", &of_consumer)),
        env.topic(),
    );
    ran.prints(&expected, "");

    let mut document = running(&env, &["--output", "json"]).succeeds().json();
    let values = [
        ("api", &api_pid, "other".to_owned()),
        ("consumer", &consumer_pid, env.topic()),
    ];
    let values = values.map(
        |(role, pid, value)| json!({ "service": format!("{role} (pid {pid})"), "value": value }),
    );
    let difference = json!({ "setting": "KAFKA_TOPIC", "values": values });
    assert_eq!(document["differences"], json!([difference]));
    let service = &mut document["services"][1];
    assert!(service["uptime_s"].take().is_u64(), "{service}");
    let checks = service["checks"].take();
    assert!(
        checks.as_array().is_some_and(|it| !it.is_empty()),
        "{checks}"
    );
    let settings = service["settings"].take();
    let settings = settings.as_array().expect("a list");
    let group = json!({ "name": "KAFKA_GROUP", "value": env.group(), "origin": "environment" });
    assert!(settings.contains(&group), "{settings:?}");
    let expected = json!({
        "role": "consumer", "pid": consumer.id(), "version": version, "uptime_s": null,
        "addresses": { "api": null, "admin": admin }, "checks": null, "folder": folder.to_string(),
        "settings": null,
    });
    assert_eq!(*service, expected);
}

#[test]
fn a_service_that_does_not_answer_is_a_line_and_one_that_was_killed_is_none() {
    let env = Env::embedded().prepared(1);
    let api = env.api();
    let mut consumer = env.consumer();
    consumer.freeze();
    let silent = |pid: u32| json!({ "role": "consumer", "pid": pid, "error": "did not answer within 800 ms" });
    let document = running(&env, &["--output", "json"]).succeeds().json();
    assert_eq!(document["services"][0]["role"], "api");
    assert_eq!(document["services"][1], silent(consumer.id()));
    let ran = running(&env, &[]).succeeds();
    let line = ran.stdout.lines().nth(2).expect("the line of the consumer");
    assert!(
        line.starts_with(&format!("consumer  {}", consumer.id())),
        "{line}"
    );
    assert!(line.ends_with("  did not answer within 800 ms"), "{line}");

    api.freeze();
    let ran = running(&env, &["--output", "json"]).exits(5);
    assert_eq!(
        ran.json()["services"][0]["error"],
        "did not answer within 800 ms"
    );
    api.thaw();
    consumer.kill9();
    let document = running(&env, &["--output", "json"]).succeeds().json();
    assert_eq!(
        document["services"].as_array().map(Vec::len),
        Some(1),
        "{document}"
    );
}

#[test]
fn without_a_running_service_the_answer_is_empty() {
    let none = "no service of this user runs on this machine\n";
    orders("config --running").run().succeeds().prints("", none);
    let ran = orders("config --running --output json").run().succeeds();
    assert_eq!(ran.json(), json!({ "services": [], "differences": [] }));
    let refused = orders("config --running --topic x").run().exits(2);
    let expected = "\
error: `--running` shows what the services use, and no flag changes that
hint: leave the other flags out
";
    refused.prints("", expected);
}

/// Answers `/status` and `/config` as a hostile or future service may.
fn serve(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("nothing listens there");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let body = match request.first().is_some_and(|line| line.contains("/status")) {
                true => json!({
                    "role": "api", "version": "9\u{1b}[2J", "pid": 1, "uptime_s": u64::MAX,
                    "addresses": { "api": null, "admin": "127.0.0.1:1" }, "new": 1,
                    "checks": [{ "name": "\u{1b}]0;x", "ok": false, "detail": "" }],
                }),
                false => json!({
                    "folder": "/\u{202e}\n",
                    "settings": [{ "name": "A\u{9b}", "value": "b\nc", "origin": "/\u{1b}" }],
                }),
            };
            let answer = format!("HTTP/1.0 200 OK\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).expect("it is read");
        }
    });
}

#[test]
fn what_a_service_answers_cannot_control_a_terminal() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let sockets = folder.path().join("orders");
    DirBuilder::new()
        .mode(0o700)
        .create(&sockets)
        .expect("it does not exist");
    serve(&sockets.join("api-1.sock"));
    let config = |arguments: &str| orders(arguments).env("XDG_RUNTIME_DIR", folder.path());
    let ran = returns_within(SOON, || config("config --running").run()).succeeds();
    let days = u64::MAX / 86_400;
    let expected = table(&[
        vec!["service", "pid", "version", "up", "api", "admin", "state"],
        vec![
            "api",
            "1",
            "9\\u{1b}[2J",
            &format!("{days} d"),
            "",
            "127.0.0.1:1",
            "not ready: \\u{1b}]0;x",
        ],
    ]) + "\napi (pid 1) in /\\u{202e}\\n\n"
        + &table(&[
            vec!["setting", "value", "origin"],
            vec!["A\\u{9b}", "b\\nc", "/\\u{1b}"],
        ]);
    ran.prints(&expected, "");
    let json = config("config --running --output json").run().succeeds();
    let is_raw = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
    assert!(!json.stdout.contains(is_raw), "{}", json.stdout);
    fs::set_permissions(
        &sockets,
        std::os::unix::fs::PermissionsExt::from_mode(0o750),
    )
    .expect("it is ours");
    let refused = config("config --running").run().exits(1);
    let expected = format!(
        "error: looking for running services: `{}` has mode 750 and must have 700\n",
        sockets.display()
    );
    refused.prints("", &expected);
}
