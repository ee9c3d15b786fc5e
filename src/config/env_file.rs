//! The `.env` file: `NAME=value` lines, read literally.
//!
//! Quotes around a value are removed, and nothing is expanded: `$`, `\` and backticks stay as they
//! are. Only the program's own variables are read, because other programs share the file; a malformed
//! line of one of them is an error. Errors name the line and never repeat it: it may have a password.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::exit::Failure;

const HINT: &str = "write NAME=value or NAME='value'";

/// Reads the variables among `names` from the file at `path`. A file that does not exist, or a
/// folder of that name, is an error only when it `is_required`.
pub(super) fn read(
    path: &Path,
    is_required: bool,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, names).map_err(|line| {
            let file = path.display();
            let message = format!("line {line} of the environment file `{file}` is malformed");
            Failure::usage(message).hint(HINT)
        }),
        Err(error)
            if !is_required
                && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) =>
        {
            Ok(BTreeMap::new())
        }
        Err(error) => {
            let message = format!("reading the environment file `{}`: {error}", path.display());
            Err(Failure::usage(message))
        }
    }
}

/// The variables among `names`; a later line replaces an earlier one. The error is the number of a
/// malformed line.
pub(super) fn parse(
    text: &str,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>, usize> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let is_part_of_name =
            |character: char| character.is_ascii_alphanumeric() || character == '_';
        let (name, rest) =
            line.split_at(line.find(|it| !is_part_of_name(it)).unwrap_or(line.len()));
        if names.contains(name) {
            let value = rest.trim_start().strip_prefix('=').and_then(value);
            variables.insert(name.to_owned(), value.ok_or(index + 1)?.to_owned());
        }
    }
    Ok(variables)
}

/// The value behind the equals sign, without quotes and without a comment behind it; `None` when a
/// quote is not closed or something else follows it.
fn value(text: &str) -> Option<&str> {
    let text = text.trim();
    if let Some(quote @ ('\'' | '"')) = text.chars().next() {
        let (value, rest) = text[1..].split_once(quote)?;
        let rest = rest.trim_start();
        return (rest.is_empty() || rest.starts_with('#')).then_some(value);
    }
    let is_comment =
        |(at, _): &(usize, &str)| *at == 0 || text[..*at].ends_with(char::is_whitespace);
    let end = text.match_indices('#').find(is_comment);
    Some(end.map_or(text, |(at, _)| text[..at].trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_ours(text: &str) -> Result<Vec<(String, String)>, usize> {
        let names = ["A", "B", "DB_URL"].map(str::to_owned).into();
        parse(text, &names).map(|variables| variables.into_iter().collect())
    }

    #[test]
    fn values_are_literal_and_quotes_are_removed() {
        let cases = [
            ("A=x", "x"),
            ("  A = x \r", "x"),
            ("export A=x", "x"),
            ("\u{feff}A=x", "x"),
            ("A=", ""),
            ("A=two words", "two words"),
            ("A=pass#word$suffix", "pass#word$suffix"),
            (r"A=a\nb`id`", r"a\nb`id`"),
            ("A=x # a comment", "x"),
            ("A=#", ""),
            ("A='a #$B\"'", "a #$B\""),
            ("A=\"${B} it's\" # a comment", "${B} it's"),
            ("A=k=v", "k=v"),
            ("A=first\nA=second", "second"),
        ];
        for (text, expected) in cases {
            let expected = Ok(vec![("A".to_owned(), expected.to_owned())]);
            assert_eq!(parse_ours(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_of_other_programs_are_skipped_whatever_they_look_like() {
        let text = "FOO=bar baz\nnot a line\nFOO='unclosed\n# A=x\n#A=x\n\nAB=x\n-----END";
        assert_eq!(parse_ours(text), Ok(Vec::new()));
    }

    #[test]
    fn a_malformed_line_of_ours_is_an_error_with_its_number() {
        for line in [
            "A",
            "A x",
            "A: x",
            "A='unclosed",
            "A=\"x\" y",
            "DB_URL postgresql://",
        ] {
            assert_eq!(parse_ours(&format!("B=1\n{line}\n")), Err(2), "{line}");
        }
    }

    #[test]
    fn the_files_that_fuzzing_found_are_read_or_their_malformed_line_is_named() {
        for (name, text) in support::seeds::seeds("env_file") {
            let text = String::from_utf8_lossy(&text);
            match parse_ours(&text) {
                Ok(variables) => {
                    let is_literal = |(_, value): &(String, String)| text.contains(value);
                    assert!(variables.iter().all(is_literal), "{name}");
                }
                Err(line) => assert!((1..=text.lines().count()).contains(&line), "{name}"),
            }
        }
    }
}
