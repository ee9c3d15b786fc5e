//! Settings of an example command, and helpers for the tests of other argument groups.

use std::path::Path;

use clap::Args;

use super::*;
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
    let expected = serde_json::json!([
        { "name": "LIMIT", "value": "7", "origin": "default" },
        { "name": "DB_URL", "value": "postgresql://me:***@db/orders", "origin": "prod.env" },
        { "name": "-X", "value": "sasl.password=***", "origin": "flag" },
    ]);
    assert_eq!(serde_json::json!(settings.entries()), expected);
}
