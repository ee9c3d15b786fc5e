//! The password file: `~/.pgpass`, or the one that `passfile` or PGPASSFILE names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The entries of a password file, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PasswordFile(Vec<[String; 5]>);

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

    /// The password of the first entry that matches; `*` matches anything.
    pub(super) fn password(
        &self,
        host: &str,
        port: u16,
        database: &str,
        user: &str,
    ) -> Option<&str> {
        let port = port.to_string();
        let wanted = [host, &port, database, user];
        let matches = |entry: &&[String; 5]| {
            let mut pairs = entry.iter().zip(wanted);
            pairs.all(|(pattern, value)| pattern == "*" || pattern == value)
        };
        let entry = self.0.iter().find(matches)?;
        Some(entry[4].as_str()).filter(|password| !password.is_empty())
    }
}

/// Reads `host:port:database:user:password`, where `\` takes the meaning of the next character away.
fn entry(line: &str) -> Option<[String; 5]> {
    let mut fields: [String; 5] = Default::default();
    let mut at = 0;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => fields[at].extend(characters.next()),
            // The password ends with the line.
            ':' if at < 4 => at += 1,
            other => fields[at].push(other),
        }
    }
    (at == 4).then_some(fields)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    const TEXT: &str = "# a comment\nmalformed\nh:5432:d:u:first\r\nh:*:*:u:se\\:c\\\\ond\n\
                        [x\\:y]:*:*:*:third\nempty:*:*:*:\n*:*:*:v:a:b\n";

    #[test]
    fn the_first_entry_that_matches_gives_the_password() {
        let file = PasswordFile::parse(TEXT);
        let cases = [
            ("h", 5432, "d", "u", Some("first")),
            ("h", 5433, "d", "u", Some(r"se:c\ond")),
            ("[x:y]", 1, "d", "w", Some("third")),
            ("i", 1, "d", "v", Some("a:b")),
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
