//! Settings of an example command, and helpers for the tests of other argument groups.

use std::path::Path;

use clap::{Args, CommandFactory};

use super::*;
use crate::cli::Cli;
use crate::config::env_file;
use crate::config::variables::names;

impl Variables {
    /// The process's variables, without a file.
    pub(in crate::config) fn of_process<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Variables {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.into());
        Variables {
            process: pairs.into_iter().map(own).collect(),
            ..Variables::default()
        }
    }

    /// The variables of a file, with no others.
    pub(in crate::config) fn of_file(path: &Path, command: &Command) -> Variables {
        Variables {
            file: env_file::read(path, true, &names(command)).unwrap(),
            path: path.to_owned(),
            ..Variables::default()
        }
    }
}

/// A command line of one command with the arguments `T`.
pub(in crate::config) fn command<T: Args>() -> Command {
    Command::new("orders").subcommand(T::augment_args(Command::new("test")))
}

/// `T` as the flags and the variables set it.
pub(in crate::config) fn resolve<T: Args>(
    flags: &[&str],
    variables: Variables,
) -> Result<(T, Settings), Failure> {
    let command = command::<T>();
    let arguments = ["orders", "test"].iter().chain(flags);
    let arguments: Vec<OsString> = arguments.map(OsString::from).collect();
    let flags = command_line(&command, &arguments).unwrap();
    let (matches, settings) = Settings::resolve(command, &arguments, &flags, variables)?;
    let (_, matches) = matches.subcommand().unwrap();
    Ok((T::from_arg_matches(matches).unwrap(), settings))
}

/// As [`resolve`], with variables of the process alone and the error's text.
pub(in crate::config) fn from_variables<T: Args>(pairs: &[(&str, &str)]) -> Result<T, String> {
    let resolved = resolve(&[], Variables::of_process(pairs.iter().copied()));
    resolved
        .map(|(args, _)| args)
        .map_err(|error| error.to_string())
}

#[derive(Args)]
struct Example {
    /// A number
    #[arg(long, env = "LIMIT", default_value = "7", value_parser = limit)]
    limit: u64,
    /// A database
    #[arg(long, env = "DB_URL")]
    db_url: Option<String>,
    /// Properties
    #[arg(short = 'X')]
    properties: Vec<String>,
}

fn limit(text: &str) -> Result<u64, Invalid> {
    text.parse()
        .map_err(|_| Invalid::expected(text, "a number"))
}

fn variables() -> Variables {
    let mut variables = Variables::of_process([("LIMIT", "process")]);
    variables.file.insert("LIMIT".into(), "file".into());
    variables.path = ".env".into();
    variables
}

fn refused(flags: &[&str], variables: Variables) -> String {
    resolve::<Example>(flags, variables)
        .err()
        .unwrap()
        .to_string()
}

#[test]
fn a_flag_beats_the_process_and_the_process_beats_the_file() {
    let expected = "`--limit` is `flag`, expected a number";
    assert_eq!(refused(&["--limit", "flag"], variables()), expected);
    let expected = "`LIMIT` is `process`, expected a number";
    assert_eq!(refused(&[], variables()), expected);
    let mut variables = variables();
    for unset in ["", " "] {
        variables.process.insert("LIMIT".into(), unset.into());
        let expected = "`LIMIT` (in `.env`) is `file`, expected a number";
        assert_eq!(refused(&[], variables.clone()), expected);
    }
    variables.file.clear();
    assert_eq!(resolve::<Example>(&[], variables).unwrap().0.limit, 7);
}

#[test]
fn a_variable_that_a_flag_overrides_is_not_parsed() {
    let (example, _) = resolve::<Example>(&["--limit", "3"], variables()).unwrap();
    assert_eq!(example.limit, 3);
}

#[test]
fn an_empty_flag_is_an_error() {
    let error = refused(&["--limit", ""], Variables::default());
    assert_eq!(error, "`--limit` is empty");
}

#[test]
fn a_variable_that_is_not_utf8_is_an_error_only_when_it_is_used() {
    use std::os::unix::ffi::OsStringExt;
    let invalid = || OsString::from_vec(vec![0xff]);
    let mut variables = Variables::default();
    variables.process.insert("OTHER".into(), invalid());
    assert!(resolve::<Example>(&[], variables.clone()).is_ok());
    variables.process.insert("DB_URL".into(), invalid());
    assert_eq!(refused(&[], variables), "`DB_URL` is not valid UTF-8");
}

#[test]
fn entries_have_the_origin_of_each_value_and_mask_secrets() {
    let mut variables = Variables::default();
    let url = "postgresql://me:s3cret@db/orders";
    variables.file.insert("DB_URL".into(), url.into());
    variables.path = "prod.env".into();
    let flags = ["-X", "sasl.password=s3cret"];
    let (example, settings) = resolve::<Example>(&flags, variables).unwrap();
    assert_eq!(example.db_url.as_deref(), Some(url));
    assert_eq!(example.properties, ["sasl.password=s3cret"]);
    let file = path::absolute("prod.env").unwrap();
    let expected = serde_json::json!([
        { "name": "LIMIT", "value": "7", "origin": "default" },
        { "name": "DB_URL", "value": "postgresql://me:***@db/orders", "origin": file },
        { "name": "-X", "value": "sasl.password=***", "origin": "flag" },
    ]);
    let entries = settings.entries();
    assert_eq!(serde_json::json!(entries[..3]), expected);
    // Another program reads the same from it.
    let written = serde_json::to_string(&entries).unwrap();
    let read: Vec<Entry> = serde_json::from_str(&written).unwrap();
    assert_eq!(read, entries);
}

/// The entries of `orders config`.
fn config_entries(variables: Variables) -> Vec<Entry> {
    let arguments = ["orders", "config"].map(OsString::from);
    let flags = command_line(&Cli::command(), &arguments).unwrap();
    let resolved = Settings::resolve(Cli::command(), &arguments, &flags, variables);
    let (_, settings) = resolved.unwrap_or_else(|error| panic!("{error}"));
    settings.entries()
}

#[test]
fn orders_config_shows_every_variable_that_the_program_knows() {
    let entries = config_entries(Variables::default());
    let shown: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    for name in names(&Cli::command()) {
        let count = shown.iter().filter(|it| **it == name).count();
        assert_eq!(count, 1, "{name} in {shown:?}");
    }
    assert_eq!(shown.len(), names(&Cli::command()).len() + 1, "{shown:?}");
    assert!(shown.contains(&"-X"));
}

#[test]
fn no_entry_shows_a_secret_and_text_that_is_not_utf8_is_no_error() {
    use std::os::unix::ffi::OsStringExt;
    let url = "postgresql://me:s3cret@db/orders?sslpassword=s3cret";
    let mut variables = Variables::of_process([
        ("DB_URL", url),
        ("KAFKA_PROPERTIES", "sasl.password=s3cret"),
        ("ORDERS_TOKEN", "s3cret"),
        ("PGPASSWORD", "s3cret"),
        ("PGHOST", "db"),
    ]);
    let invalid = OsString::from_vec(b"a\xff".to_vec());
    variables.process.insert("PGUSER".into(), invalid);
    let entries = config_entries(variables);
    let value = |name: &str| {
        let entry = entries.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(entry.origin, Origin::Environment);
        entry.value.as_deref().unwrap()
    };
    assert_eq!(
        value("DB_URL"),
        "postgresql://me:***@db/orders?sslpassword=***"
    );
    assert_eq!(value("KAFKA_PROPERTIES"), "sasl.password=***");
    assert_eq!((value("ORDERS_TOKEN"), value("PGPASSWORD")), ("***", "***"));
    assert_eq!((value("PGHOST"), value("PGUSER")), ("db", "a\u{fffd}"));
}

#[test]
fn a_default_that_another_command_has_is_found_unless_the_setting_is_set() {
    let entry = |variables| {
        let mut entries = config_entries(variables).into_iter();
        entries.find(|entry| entry.name == "ADMIN_ADDR").unwrap()
    };
    let unset = entry(Variables::default());
    assert_eq!(unset.value.as_deref(), Some("127.0.0.1:8081"));
    let others = other_defaults(&Cli::command(), &unset);
    let [(command, other)] = others.as_slice() else {
        panic!("{others:?}");
    };
    assert_eq!(command, "consume");
    assert_eq!(other.value.as_deref(), Some("127.0.0.1:8082"));
    let set = entry(Variables::of_process([("ADMIN_ADDR", "127.0.0.1:1")]));
    assert_eq!(other_defaults(&Cli::command(), &set), []);
}
