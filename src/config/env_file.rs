//! The `.env` file: `NAME=value` lines, read literally.
//!
//! Quotes around a value are removed, and nothing is expanded: `$`, `\` and backticks stay as they
//! are. Only the program's own variables are read, because other programs share the file; a malformed
//! line of one of them is an error. Errors name the line and never repeat it: it may have a password.
//!
//! Whoever can write the file decides where orders and passwords go, so it must belong to this user or
//! to root, and others must not be able to write it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::exit::Failure;
use crate::owner;

const MAX_BYTES: u64 = 1 << 20;

const HINT: &str = "write NAME=value or NAME='value'";

/// Reads the variables among `names` from the file at `path`. A file that does not exist, or something
/// else of that name, is an error only when it `is_required`, which may be a pipe too.
pub(super) fn read(
    path: &Path,
    is_required: bool,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>, Failure> {
    match read_text(path, is_required) {
        Ok(None) => Ok(BTreeMap::new()),
        Ok(Some(text)) => parse(&text, names).map_err(|line| {
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

/// The text of the file; `None` for what is no file, unless it is required.
fn read_text(path: &Path, is_required: bool) -> io::Result<Option<String>> {
    let mut options = OpenOptions::new();
    options.read(true);
    if !is_required {
        // To open a pipe would wait for its writer.
        options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        owner::check(&metadata)?;
    } else if !is_required {
        return Ok(None);
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(Some(text))
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
        let exported = line.strip_prefix("export").unwrap_or_default();
        let line = match exported.starts_with([' ', '\t']) {
            true => exported.trim_start(),
            false => line,
        };
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
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_others_can_write_is_refused_and_what_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let read = |is_required| {
            let names = ["A".to_owned()].into();
            read(&path, is_required, &names)
                .map_err(|error| format!("{:#}", anyhow::Error::new(error)))
        };
        assert_eq!(read(false), Ok(BTreeMap::new()));
        fs::write(&path, "A=x").unwrap();
        for (mode, is_read) in [(0o600, true), (0o644, true), (0o666, false), (0o602, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            for is_required in [false, true] {
                match read(is_required) {
                    Ok(found) => assert!(is_read && found["A"] == "x", "{mode:o}"),
                    Err(error) => assert!(!is_read && error.contains("chmod"), "{error}"),
                }
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        for (text, is_read) in [("A=x\n", false), ("A=x", true)] {
            let size = usize::try_from(MAX_BYTES).unwrap() - "A=x".len();
            fs::write(&path, format!("{}{text}", "\n".repeat(size))).unwrap();
            assert_eq!(read(true).is_ok(), is_read, "{text}");
        }
        fs::remove_file(&path).unwrap();
        // Nobody writes to it: to wait for that would be for ever.
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(read(false), Ok(BTreeMap::new()));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(read(false), Ok(BTreeMap::new()));
        assert!(read(true).is_err());
    }

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
            ("export\tA=x", "x"),
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
        assert_eq!(parse_ours("exportA=x\nexport=x\nexport"), Ok(Vec::new()));
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
