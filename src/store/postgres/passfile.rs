//! The password file: `~/.pgpass`, or the one that `passfile` or PGPASSFILE names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The entries of a password file, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PasswordFile(Vec<Entry>);

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Host, port, database and user; `None` matches anything.
    patterns: [Option<String>; 4],
    password: String,
}

impl PasswordFile {
    /// Reads the file. As in libpq, one that does not exist has no entries, and one that others may
    /// read is left alone, with a warning.
    pub(super) fn read(path: &Path) -> PasswordFile {
        let warn = |reason: &str| {
            tracing::warn!(
                "the password file `{}` is not used: {reason}",
                path.display()
            );
        };
        let Ok(metadata) = fs::metadata(path) else {
            return PasswordFile::default();
        };
        if !metadata.is_file() {
            warn("it is not a file");
        } else if metadata.permissions().mode() & 0o077 != 0 {
            warn("others may read it; `chmod 600` it");
        } else {
            match fs::read_to_string(path) {
                Ok(text) => return PasswordFile::parse(&text),
                Err(error) => warn(&error.to_string()),
            }
        }
        PasswordFile::default()
    }

    fn parse(text: &str) -> PasswordFile {
        let lines = text.lines().map(|line| line.trim_end_matches('\r'));
        let entries = lines
            .filter(|line| !line.starts_with('#'))
            .filter_map(entry);
        PasswordFile(entries.collect())
    }

    /// The password of the first entry that matches.
    pub(super) fn password(
        &self,
        host: &str,
        port: u16,
        database: &str,
        user: &str,
    ) -> Option<&str> {
        let port = port.to_string();
        let wanted = [host, &port, database, user];
        let matches = |entry: &&Entry| {
            let mut pairs = entry.patterns.iter().zip(wanted);
            pairs.all(|(pattern, value)| pattern.as_ref().is_none_or(|it| it == value))
        };
        let entry = self.0.iter().find(matches)?;
        Some(entry.password.as_str()).filter(|password| !password.is_empty())
    }
}

/// Reads `host:port:database:user:password`. In a field a `\` takes the meaning of the next character
/// away; `*` alone matches anything, and what follows the password is ignored.
fn entry(line: &str) -> Option<Entry> {
    let mut fields = fields(line);
    let mut pattern = || {
        let field = fields.next()?;
        Some((field != "*").then(|| unescape(field)))
    };
    let patterns = [pattern()?, pattern()?, pattern()?, pattern()?];
    let password = unescape(fields.next()?);
    Some(Entry { patterns, password })
}

/// What stands between colons that no `\` precedes.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    let mut is_escaped = false;
    line.split(move |character| {
        let is_end = character == ':' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_end
    })
}

fn unescape(field: &str) -> String {
    let mut text = String::new();
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            // As in libpq, the last one stands for itself.
            '\\' => characters.next().unwrap_or('\\'),
            other => other,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    const TEXT: &str = "# a comment\nmalformed\nh:5432:d:u:first\r\nh:*:*:u:se\\:c\\\\ond\n\
                        [x\\:y]:*:*:*:third\nempty:*:*:*:\n*:*:*:v:a:b\n*:*:*:w\n\\*:*:*:w:star\n\
                        *:*:*:x:end\\\n*:*:*:y:\\*\\\\\\:z\n";

    #[test]
    fn the_first_entry_that_matches_gives_the_password() {
        let file = PasswordFile::parse(TEXT);
        let cases = [
            ("h", 5432, "d", "u", Some("first")),
            ("h", 5433, "d", "u", Some(r"se:c\ond")),
            ("[x:y]", 1, "d", "w", Some("third")),
            ("i", 1, "d", "v", Some("a")),
            // Only a host of that very name: the star is escaped.
            ("i", 1, "d", "w", None),
            ("*", 1, "d", "w", Some("star")),
            ("i", 1, "d", "x", Some(r"end\")),
            ("i", 1, "d", "y", Some(r"*\:z")),
            ("i", 1, "d", "u", None),
            ("empty", 1, "d", "v", None),
        ];
        for (host, port, database, user, expected) in cases {
            assert_eq!(
                file.password(host, port, database, user),
                expected,
                "{host}"
            );
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        assert_eq!(PasswordFile::read(&path), PasswordFile::default());
        fs::write(&path, TEXT).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(PasswordFile::read(&path), PasswordFile::default());
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(PasswordFile::read(&path), PasswordFile::parse(TEXT));
        assert_eq!(PasswordFile::read(folder.path()), PasswordFile::default());
    }
}
