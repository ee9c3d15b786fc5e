//! Which files an export may replace: none of the pipeline's own.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::sink::{STDOUT, part};
use crate::config::StoreSettings;
use crate::data_folder::{DataFolder, folder_of};
use crate::exit::Failure;
use crate::sqlite_file::with_suffix;

/// Every database file of SQLite begins with this.
const SQLITE_HEADER: &[u8; 16] = b"SQLite format 3\0";

/// Files that belong to a database, beside it.
const SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Refuses a target in the data folder, and any database.
pub(super) fn check(
    target: &Path,
    folder: &DataFolder,
    store: &StoreSettings,
) -> Result<(), Failure> {
    if target == Path::new(STDOUT) {
        return Ok(());
    }
    for path in [target, &part(target)] {
        if let Some(reason) = refusal(path, folder, store) {
            let message = format!("exporting to `{}`: {reason}", target.display());
            return Err(Failure::usage(message).hint("name a file elsewhere"));
        }
    }
    Ok(())
}

fn refusal(path: &Path, folder: &DataFolder, store: &StoreSettings) -> Option<&'static str> {
    let resolved = resolve(path);
    let data = fs::canonicalize(folder.path());
    if data.is_ok_and(|data| resolved.starts_with(data)) {
        return Some("it is in the data folder, whose files are the pipeline's own");
    }
    if let StoreSettings::Sqlite { file } = store
        && SUFFIXES
            .iter()
            .any(|suffix| resolve(&with_suffix(file, suffix)) == resolved)
    {
        return Some("it is the database that is exported");
    }
    is_database(path).then_some("it is a database, which an export would replace")
}

/// The path without links and dots; the file itself need not exist.
fn resolve(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| {
        let folder = fs::canonicalize(folder_of(path)).unwrap_or_default();
        folder.join(path.file_name().unwrap_or_default())
    })
}

fn is_database(path: &Path) -> bool {
    // Opening a pipe would wait for its writer.
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let mut head = [0; SQLITE_HEADER.len()];
    is_file
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut head).is_ok())
        && head == *SQLITE_HEADER
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_export_never_replaces_a_database_or_a_file_of_the_data_folder() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name);
        let folder = DataFolder::new(at("data"));
        folder.create().unwrap();
        symlink(at("data"), at("link")).unwrap();
        fs::write(at("other.db"), b"SQLite format 3\0and more").unwrap();
        fs::write(at("partial.part"), b"SQLite format 3\0and more").unwrap();
        let store = StoreSettings::Sqlite {
            file: at("elsewhere.db"),
        };
        for name in [
            "data/store.db",
            "data/new",
            "data/../data/new",
            "link/store.db",
            "elsewhere.db",
            "elsewhere.db-wal",
            "other.db",
            "partial",
        ] {
            assert!(check(&at(name), &folder, &store).is_err(), "{name}");
        }
        fs::write(at("old.ndjson"), "{}").unwrap();
        for name in [
            "old.ndjson",
            "new.ndjson",
            "no/such/folder/file",
            "data.ndjson",
        ] {
            check(&at(name), &folder, &store).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        check(Path::new(STDOUT), &folder, &store).unwrap();
        check(Path::new("/dev/null"), &folder, &store).unwrap();
    }
}
