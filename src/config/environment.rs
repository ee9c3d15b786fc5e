//! The variables of the process and of the `.env` file, read once.
//!
//! Owns precedence (flag, process, file) and the wording of configuration errors. Unknown names are
//! left alone: other programs share both places. The surprising thing: a line of the file that
//! cannot be parsed is reported by its number only, because it may hold a password.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// A setting that is missing or cannot be used; exit code 2. The text names the flag or variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    message: String,
    hint: Option<String>,
}

impl ConfigError {
    /// One sentence that names the flag or variable: lower case, no full stop, no secret.
    pub fn new(message: impl Into<String>) -> ConfigError {
        ConfigError {
            message: message.into(),
            hint: None,
        }
    }

    /// What the reader can do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> ConfigError {
        self.hint = Some(hint.into());
        self
    }

    /// What the reader can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// A snapshot of the process's variables and of the `.env` file.
#[derive(Clone, Default)]
pub struct Environment {
    process: BTreeMap<String, String>,
    /// Names whose value is not UTF-8; an error only when one of them is asked for.
    unreadable: BTreeSet<String>,
    file: BTreeMap<String, String>,
    file_name: PathBuf,
}

impl Environment {
    /// Reads the process's variables and the file: the one named by `--env-file`, which must exist,
    /// or `.env` in the current directory where there is one.
    pub fn load(env_file: Option<&Path>) -> Result<Environment, ConfigError> {
        let mut environment = Environment::default();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            match value.into_string() {
                Ok(value) => drop(environment.process.insert(name, value)),
                Err(_) => drop(environment.unreadable.insert(name)),
            }
        }
        let name = env_file.unwrap_or(Path::new(".env"));
        match fs::read_to_string(name) {
            Ok(text) => environment.file = parse_file(name, &text)?,
            Err(error) if env_file.is_none() && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("reading the environment file `{}`: {error}", name.display());
                return Err(ConfigError::new(message));
            }
        }
        environment.file_name = name.to_owned();
        Ok(environment)
    }

    /// An environment of exactly these variables, without a file: for tests.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Environment {
            process: pairs.into_iter().map(own).collect(),
            ..Environment::default()
        }
    }

    /// An environment of a file's text alone: for tests.
    #[cfg(test)]
    pub(super) fn from_file_text(text: &str) -> Environment {
        let file = parse_file(Path::new(".env"), text).expect("the test's file is well-formed");
        Environment {
            file,
            ..Environment::default()
        }
    }

    /// The value of a variable, the process's before the file's; an empty one counts as unset.
    pub fn get(&self, variable: &str) -> Result<Option<&str>, ConfigError> {
        Ok(self.variable(variable)?.map(|setting| setting.value))
    }

    /// The setting as given: by the flag, else by the variable. `flag` is the flag's name and value.
    pub(super) fn setting<'a>(
        &'a self,
        flag: (&str, Option<&'a str>),
        variable: &str,
    ) -> Result<Option<Setting<'a>>, ConfigError> {
        match flag {
            (name, Some(value)) => {
                let setting = Setting {
                    name: format!("`{name}`"),
                    value: value.trim(),
                };
                match setting.value {
                    "" => Err(ConfigError::new(format!("{} is empty", setting.name))),
                    _ => Ok(Some(setting)),
                }
            }
            (_, None) => self.variable(variable),
        }
    }

    /// The setting of a variable that no flag overrides.
    pub(super) fn variable(&self, variable: &str) -> Result<Option<Setting<'_>>, ConfigError> {
        if self.unreadable.contains(variable) {
            return Err(ConfigError::new(format!("`{variable}` is not valid UTF-8")));
        }
        let present = |value: &&str| !value.is_empty();
        if let Some(value) = self
            .process
            .get(variable)
            .map(|value| value.trim())
            .filter(present)
        {
            return Ok(Some(Setting {
                name: format!("`{variable}`"),
                value,
            }));
        }
        let in_file = self
            .file
            .get(variable)
            .map(|value| value.trim())
            .filter(present);
        Ok(in_file.map(|value| {
            let name = format!("`{variable}` (in `{}`)", self.file_name.display());
            Setting { name, value }
        }))
    }
}

/// One setting with the name its user knows it by.
pub(super) struct Setting<'a> {
    /// In backticks, with the file it came from.
    pub(super) name: String,
    pub(super) value: &'a str,
}

impl Setting<'_> {
    /// The error that says what is expected and repeats the value; not for values that may hold a
    /// secret.
    pub(super) fn refuse(&self, expected: &str) -> ConfigError {
        ConfigError::new(format!(
            "{} is `{}`, expected {expected}",
            self.name, self.value
        ))
    }

    /// The value as a whole number in `range`.
    pub(super) fn number(&self, range: RangeInclusive<u64>, of: &str) -> Result<u64, ConfigError> {
        match self.value.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => {
                let (least, most) = (range.start(), range.end());
                let expected = format!("a whole number of {of} from {least} to {most}");
                Err(self.refuse(&expected))
            }
        }
    }
}

fn parse_file(name: &Path, text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = BTreeMap::new();
    for entry in dotenvy::from_read_iter(text.as_bytes()) {
        let (variable, value) = entry.map_err(|error| unparsable(name, text, &error))?;
        variables.insert(variable, value);
    }
    Ok(variables)
}

fn unparsable(name: &Path, text: &str, error: &dotenvy::Error) -> ConfigError {
    let name = name.display();
    let number = match error {
        dotenvy::Error::LineParse(bad, _) => text.lines().position(|line| line == bad),
        _ => None,
    };
    let message = match number {
        Some(index) => format!(
            "line {} of the environment file `{name}` cannot be parsed",
            index + 1
        ),
        None => format!("the environment file `{name}` cannot be parsed"),
    };
    ConfigError::new(message)
        .with_hint("write NAME=value, and put a value with spaces, # or $ in single quotes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> Environment {
        Environment {
            file: parse_file(Path::new(".env"), text).unwrap(),
            file_name: ".env".into(),
            ..Environment::from_pairs([("BOTH", "process"), ("EMPTY", "")])
        }
    }

    fn picked(environment: &Environment, flag: Option<&str>, variable: &str) -> Option<String> {
        let setting = environment.setting(("--flag", flag), variable).unwrap();
        setting.map(|setting| format!("{} {}", setting.name, setting.value))
    }

    #[test]
    fn a_flag_beats_the_process_and_the_process_beats_the_file() {
        let environment = with_file("BOTH=file\nFILE_ONLY=file\nEMPTY=file\n");
        let cases = [
            (Some("flag"), "BOTH", Some("`--flag` flag")),
            (None, "BOTH", Some("`BOTH` process")),
            (None, "FILE_ONLY", Some("`FILE_ONLY` (in `.env`) file")),
            (None, "EMPTY", Some("`EMPTY` (in `.env`) file")),
            (None, "NOWHERE", None),
        ];
        for (flag, variable, expected) in cases {
            let got = picked(&environment, flag, variable);
            assert_eq!(got.as_deref(), expected, "{variable}");
        }
    }

    #[test]
    fn an_empty_variable_is_unset_and_an_empty_flag_is_an_error() {
        let environment = Environment::from_pairs([("EMPTY", ""), ("BLANK", " ")]);
        assert_eq!(picked(&environment, None, "EMPTY"), None);
        assert_eq!(picked(&environment, None, "BLANK"), None);
        let error = environment
            .setting(("--flag", Some("")), "EMPTY")
            .err()
            .unwrap();
        assert_eq!(error.to_string(), "`--flag` is empty");
    }

    #[test]
    fn a_bad_line_of_the_file_is_named_by_number_and_not_repeated() {
        let text = "A=1\nDB_URL='unclosed s3cret\n";
        let error = parse_file(Path::new(".env"), text).unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
        let error = parse_file(Path::new(".env"), "A=1\nhas space s3cret\n").unwrap_err();
        let expected = "line 2 of the environment file `.env` cannot be parsed";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_number_out_of_range_names_the_variable_the_value_and_the_range() {
        let environment = Environment::from_pairs([("LIMIT", "11")]);
        let setting = environment.variable("LIMIT").unwrap().unwrap();
        let error = setting.number(1..=10, "seconds").unwrap_err();
        let expected = "`LIMIT` is `11`, expected a whole number of seconds from 1 to 10";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_an_error_only_when_asked_for() {
        let mut environment = Environment::default();
        environment.unreadable.insert("DB_URL".into());
        assert_eq!(environment.get("KAFKA_BROKERS"), Ok(None));
        assert!(
            environment
                .get("DB_URL")
                .unwrap_err()
                .to_string()
                .contains("`DB_URL`")
        );
    }
}
