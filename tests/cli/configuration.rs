//! The precedence of settings, and the errors for missing and invalid ones.

use support::Env;
use support::process::orders;

const NO_KAFKA: &str = "\
error: a database is named and `KAFKA_BROKERS` is not set
hint: set KAFKA_BROKERS or pass --brokers, such as --brokers 127.0.0.1:9092; `embedded` keeps the log in files of the data folder
";

const NO_DATABASE: &str = "\
error: a log is named and `DB_URL` is not set
hint: set DB_URL or pass --db-url, such as --db-url postgresql://orders@127.0.0.1/orders; sqlite:FILE keeps the orders in a file
";

/// Otherwise production orders would be written to a local file unnoticed.
#[test]
fn one_engine_configured_without_the_other_is_an_error() {
    for command in ["create-topics", "serve-api", "consume", "up"] {
        let ran = orders(command).env("DB_URL", "postgresql://127.0.0.1:1/orders");
        ran.run().exits(2).prints("", NO_KAFKA);
    }
    for command in ["migrate", "consume", "up"] {
        let ran = orders(command).env("KAFKA_BROKERS", "127.0.0.1:1");
        ran.run().exits(2).prints("", NO_DATABASE);
    }
}

#[test]
fn a_gap_that_can_never_be_met_is_refused() {
    let env = Env::ready();
    let topic = env.topic();
    for (gap, reason) in [
        (
            format!("{topic}/9:1-2"),
            format!("topic `{topic}` has 1 partition(s), from 0"),
        ),
        (
            format!("{topic}/-1:1-2"),
            format!("topic `{topic}` has 1 partition(s), from 0"),
        ),
        (
            "nosuch/0:1-2".to_owned(),
            format!("the topic of the orders is `{topic}`"),
        ),
    ] {
        let consume = env.consume().arg(format!("--accept-gap={gap}"));
        let expected = format!("error: `--accept-gap` is `{gap}`, and {reason}\n");
        let ran = consume.run().exits(2);
        assert!(ran.stderr.ends_with(&expected), "{}", ran.stderr);
    }
}

#[test]
fn an_empty_variable_is_unset() {
    let ran = orders("create-topics")
        .env("KAFKA_BROKERS", "")
        .env("DB_URL", "postgresql://127.0.0.1:1/orders");
    ran.run().exits(2).prints("", NO_KAFKA);
}

#[test]
fn with_json_output_an_error_is_one_document_on_stdout() {
    let ran = orders("--output json migrate")
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .run()
        .exits(2);
    assert_eq!(ran.stderr, NO_DATABASE);
    let expected = serde_json::json!({
        "error": "a log is named and `DB_URL` is not set",
        "hint": "set DB_URL or pass --db-url, such as --db-url postgresql://orders@127.0.0.1/orders; sqlite:FILE keeps the orders in a file",
        "exit_code": 2,
    });
    assert_eq!(ran.json(), expected);
}

/// Each place holds a malformed value; the error names the one that is used.
#[test]
fn a_flag_overrides_a_variable_and_a_variable_overrides_the_file() {
    let of_file = "`KAFKA_BROKERS` (in `.env`) is `in file`";
    let of_process = "`KAFKA_BROKERS` is `in process`";
    let of_flag = "`--brokers` is `in:flag`";
    for (flag, variable, used) in [
        ("", "", of_file),
        ("", "in process", of_process),
        ("--brokers in:flag", "in process", of_flag),
    ] {
        let command = orders(&format!("create-topics {flag}")).env("KAFKA_BROKERS", variable);
        let ran = command.file(".env", "KAFKA_BROKERS='in file'\n").run();
        let error = format!("error: {used}, expected HOST:PORT, several separated by commas\n");
        ran.exits(2).prints("", &error);
    }
}

#[test]
fn the_file_named_by_a_flag_must_exist_and_replaces_the_default_one() {
    let ran = orders("migrate --env-file nowhere").run();
    let expected =
        "error: reading the environment file `nowhere`: No such file or directory (os error 2)\n";
    ran.exits(2).prints("", expected);
    let ran = orders("create-topics --env-file other.env")
        .file(".env", "KAFKA_BROKERS='in default'\n")
        .file("other.env", "KAFKA_BROKERS='in other'\n")
        .run();
    ran.reports("error: `KAFKA_BROKERS` (in `other.env`) is `in other`");
}

#[test]
fn a_malformed_line_of_the_file_is_named_by_its_number_only() {
    let text = "KAFKA_BROKERS=a:1\nDB_URL postgresql://me:s3cret@db/orders\n";
    let ran = orders("migrate").file(".env", text).run();
    let expected = "\
error: line 2 of the environment file `.env` is malformed
hint: write NAME=value or NAME='value'
";
    ran.exits(2).prints("", expected);
}

#[test]
fn values_of_the_file_are_literal_and_lines_of_other_programs_are_skipped() {
    let text =
        "suffix=x\nFOO=bar baz\nnot a setting\nKAFKA_BROKERS=\"in $suffix\\n\" # a comment\n";
    let ran = orders("create-topics").file(".env", text).run();
    ran.reports("error: `KAFKA_BROKERS` (in `.env`) is `in $suffix\\n`, ");
}

#[test]
fn properties_that_would_break_a_promise_are_refused() {
    let ran = orders("create-topics --brokers 127.0.0.1:1 -X acks=1").run();
    let why =
        "which must stay as it is: an order is acknowledged only when every replica has it, once";
    let error = format!("error: `-X` sets `acks`, {why}\n");
    ran.exits(2).prints("", &error);
    let ran = orders("create-topics --brokers 127.0.0.1:1")
        .env("KAFKA_PROPERTIES", "client.id=me,test.mock.num.brokers=3")
        .run();
    let error = "error: `KAFKA_PROPERTIES` sets `test.mock.num.brokers`";
    ran.exits(2).reports(error);
}

#[test]
fn no_message_contains_a_password() {
    let url = "postgresql://me:s3cret@127.0.0.1:1/orders";
    let commands = [
        orders("migrate --wait 0s").env("DB_URL", url),
        orders("migrate --wait 0s -vv").env("DB_URL", url),
        orders("migrate --output json").env("DB_URL", "mysql://me:s3cret@db/orders"),
        orders("migrate").env("DB_URL", "me:s3cret@db/orders"),
        orders("migrate").env(
            "DB_URL",
            format!("{url}?sslmode=s3cret-s3cret&password=s3cret"),
        ),
        orders(&format!("migrate --wait 0s --db-url {url}")),
        orders(&format!("migrate {url}")),
        orders(&format!("migrate --output json {url}")),
        orders("consume sasl.password=s3cret"),
        orders("consume --output json sasl.password=s3cret"),
        orders("sasl.password=s3cret"),
        orders("--output json sasl.password=s3cret migrate"),
        orders("migrate postgresql://me:s3cret with@db/orders"),
        orders("migrate --wait=postgresql://me:s3cret"),
        orders("migrate --db-urll=postgresql://me:s3cret"),
        orders("migrate --quiet=s3cret"),
        orders("migrate --output json --quiet=s3cret=x"),
        orders("migrate").arg("postgresql://me:s3cret with@db/orders"),
        orders("create-topics --brokers 127.0.0.1:1 -X sasl.password-s3cret"),
        orders("create-topics --brokers 127.0.0.1:1 -X sasl.password s3cret"),
        orders("create-topics --output json -X sasl.password s3cret"),
        orders("create-topics -X sasl.password -s3cret"),
        orders("create-topics --brokers 127.0.0.1:1 --kafka-properties sasl.password s3cret"),
        orders("migrate --db-url postgresql://me:a s3cret@db/orders"),
        orders("create-topics --brokers 127.0.0.1:1 -X no.such=s3cret"),
        orders("create-topics --brokers 127.0.0.1:1 -X session.timeout.ms=s3cret"),
        orders("get some-uid --api-url http://me:s3cret@127.0.0.1:1/?x"),
    ];
    for command in commands {
        let ran = command.run();
        assert!(!ran.status.success(), "{ran:?}");
        let printed = ran.stdout + &ran.stderr;
        assert!(!printed.contains("s3cret"), "{printed}");
    }
}

#[test]
fn a_password_in_an_argument_is_warned_about() {
    let ran = orders("migrate --wait 0s --db-url postgresql://me:s3cret@127.0.0.1:1/orders").run();
    ran.reports(" WARN `--db-url` holds a password");
}
