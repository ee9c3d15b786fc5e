//! The output of help and version, and usage errors.

use support::Orders;
use support::process::{Pipe, orders};

const COMMANDS: [&str; 21] = [
    "up",
    "migrate",
    "create-topics",
    "serve-api",
    "consume",
    "send",
    "get",
    "list",
    "status",
    "lag",
    "gaps",
    "replay",
    "dead-letters",
    "erase",
    "trace",
    "verify",
    "export",
    "config",
    "token",
    "completions",
    "version",
];

#[test]
fn help_has_a_line_for_every_command() {
    let ran = orders("--help").run().succeeds();
    assert_eq!(ran.stderr, "");
    let listed: Vec<&str> = ran
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(listed, [&COMMANDS[..], &["help"]].concat());
    assert!(ran.stdout.contains("Exit codes: 0 done, 1 failed"));
}

#[test]
fn help_of_a_command_names_its_variables_and_never_shows_their_values() {
    let named: [(&str, &[&str]); 17] = [
        (
            "up",
            &["KAFKA_BROKERS", "DB_URL", "ORDERS_DATA_DIR", "HTTP_ADDR"],
        ),
        ("migrate", &["DB_URL"]),
        ("create-topics", &["KAFKA_BROKERS", "KAFKA_PROPERTIES"]),
        (
            "serve-api",
            &["KAFKA_BROKERS", "DB_URL", "HTTP_ADDR", "AUTH_TOKENS_FILE"],
        ),
        (
            "consume",
            &["KAFKA_BROKERS", "DB_URL", "KAFKA_GROUP", "ADMIN_ADDR"],
        ),
        ("send", &["ORDERS_API_URL", "ORDERS_TOKEN_FILE"]),
        ("get", &["ORDERS_API_URL"]),
        ("dead-letters", &["KAFKA_BROKERS", "DB_URL"]),
        ("dead-letters show", &["DB_URL"]),
        ("dead-letters retry", &["KAFKA_BROKERS", "DB_URL"]),
        ("dead-letters edit", &["KAFKA_BROKERS", "DB_URL"]),
        ("dead-letters discard", &["DB_URL"]),
        ("dead-letters prune", &["DB_URL"]),
        ("trace", &["KAFKA_BROKERS", "DB_URL", "ORDERS_API_URL"]),
        ("verify", &["KAFKA_BROKERS", "DB_URL"]),
        ("export", &["KAFKA_BROKERS", "DB_URL"]),
        ("config", &["KAFKA_BROKERS", "DB_URL", "CACHE_MAX_BYTES"]),
    ];
    for (command, variables) in named {
        let help = orders(&format!("{command} --help"));
        let with_variable = |help: Orders<'static>, name: &&str| help.env(name, "s3cret");
        let ran = variables.iter().fold(help, with_variable).run().succeeds();
        assert_eq!(ran.stderr, "", "{command}");
        assert!(!ran.stdout.contains("s3cret"), "{command}");
        for variable in variables {
            let shown = format!("[env: {variable}");
            assert!(ran.stdout.contains(&shown), "{shown} in {}", ran.stdout);
        }
    }
}

#[test]
fn no_line_of_help_is_longer_than_80_columns() {
    let nested = ["list", "show", "retry", "edit", "discard", "prune"];
    let nested = nested.map(|name| format!("dead-letters {name}"));
    let nested = nested.iter().map(String::as_str);
    for command in COMMANDS.into_iter().chain([""]).chain(nested) {
        for flag in ["-h", "--help"] {
            let ran = orders(&format!("{command} {flag}")).run();
            let long = ran.stdout.lines().find(|line| line.chars().count() > 80);
            assert_eq!(long, None, "orders {command} {flag}");
        }
    }
}

#[test]
fn every_command_has_help() {
    for command in COMMANDS {
        let ran = orders(&format!("{command} --help")).run().succeeds();
        assert_eq!(ran.stderr, "", "{command}");
        let usage = format!("Usage: orders {command} [OPTIONS]");

        assert!(ran.stdout.contains(&usage), "{}", ran.stdout);
    }
}

#[test]
fn help_is_a_command_too() {
    for (command, flag) in [("help", "--help"), ("help send", "send --help")] {
        let help = orders(command).run().succeeds();
        assert_eq!(
            help.stdout,
            orders(flag).run().succeeds().stdout,
            "{command}"
        );
    }
}

#[test]
fn help_that_cannot_be_printed_is_an_error() {
    for arguments in ["--help", "--version", "help send", "completions bash"] {
        let full = orders(arguments).wrapped_in(&["sh", "-c", "exec \"$@\" >/dev/full", "sh"]);
        let ran = full.run().exits(1);
        assert!(ran.stderr.contains("writing to stdout: "), "{}", ran.stderr);
    }
}

#[test]
fn version_is_that_of_the_package() {
    let version = concat!("orders ", env!("CARGO_PKG_VERSION"), "\n");
    for arguments in ["--version", "-V", "version"] {
        orders(arguments).run().succeeds().prints(version, "");
    }
}

#[test]
fn output_to_a_pipe_has_no_colours() {
    for arguments in [
        "--help",
        "migrate --help",
        "",
        "nonsense",
        "migrate --nonsense",
        "migrate",
    ] {
        let ran = orders(arguments).env("TERM", "xterm-256color").run();
        let printed = ran.stdout + &ran.stderr;
        assert!(!printed.contains('\u{1b}'), "`orders {arguments}`");
    }
}

#[test]
fn a_mistake_of_usage_is_2_and_with_json_still_one_document() {
    let ran = orders("migrate --nonsense").run().exits(2);
    assert_eq!(ran.stdout, "");
    ran.reports("error: unexpected argument '--nonsense' found");
    let ran = orders("migrate --nonsense --output json").run().exits(2);
    let expected = serde_json::json!({
        "error": "unexpected argument '--nonsense' found", "hint": null, "exit_code": 2
    });
    assert_eq!(ran.json(), expected);
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    for arguments in ["--help", "completions bash"] {
        let ran = orders(arguments).stdout(Pipe::Closed).run().succeeds();
        ran.prints("", "");
    }
}
