//! What SQLite's errors mean for a file, and what an operator does about each.

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi};

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileErrorKind {
    /// Another connection holds the lock for longer than the timeout.
    Busy,
    /// The disk is full. What failed has left nothing behind.
    Full,
    /// The file, or its folder, may not be written.
    ReadOnly,
    /// The file does not exist, or may not be opened.
    Missing,
    /// The path leads to a folder, or through a file: waiting does not help.
    NotAFile,
    /// The file at the path is not the one that is open, or it was truncated.
    Changed,
    /// The file was replaced, and the WAL beside it belongs to the one before.
    ForeignWal,
    /// The file does not hold what was written to it.
    Damaged,
    /// The disk reports an error. Whether the last write was kept is not known.
    Disk,
    /// The data itself is refused: by a CHECK, a trigger, a type or a size.
    Refused,
    /// A statement or a table is not as expected. A broken NOT NULL or UNIQUE, too, is a schema that is
    /// not ours.
    Misused,
}

/// A failed use of a file: which file, what failed, and what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub struct FileError {
    pub kind: FileErrorKind,
    pub path: PathBuf,
    reason: String,
}

impl FileError {
    /// Classifies an error of SQLite.
    pub fn of(path: &Path, error: &rusqlite::Error) -> FileError {
        let kind = match kind(error) {
            // The file exists, so it is its WAL or index that may not be created or opened.
            FileErrorKind::Missing if path.is_file() => FileErrorKind::ReadOnly,
            kind => kind,
        };
        FileError::new(kind, path, error.to_string())
    }

    /// An error that SQLite did not report itself.
    pub fn new(kind: FileErrorKind, path: &Path, reason: impl Into<String>) -> FileError {
        FileError {
            kind,
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self.kind {
            FileErrorKind::Busy => Some("another program holds it locked: end that, or wait"),
            FileErrorKind::Full => Some("make room on its disk; work resumes by itself"),
            FileErrorKind::ReadOnly => {
                Some("make the file and its folder writable; work resumes by itself")
            }
            // A disk that fails while it is read looks the same.
            FileErrorKind::Damaged => Some(
                "check whether its disk reports errors; if not, stop every program that uses it \
                 and restore a backup",
            ),
            FileErrorKind::Disk => Some("check the disk; work resumes when it is healthy again"),
            FileErrorKind::Missing
            | FileErrorKind::NotAFile
            | FileErrorKind::Changed
            | FileErrorKind::ForeignWal
            | FileErrorKind::Refused
            | FileErrorKind::Misused => None,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`: {}", self.path.display(), self.reason)?;
        match self.hint() {
            Some(hint) => write!(formatter, " ({hint})"),
            None => Ok(()),
        }
    }
}

fn kind(error: &rusqlite::Error) -> FileErrorKind {
    match error.sqlite_extended_error_code() {
        // The index beside the file could not be extended.
        Some(ffi::SQLITE_IOERR_SHMSIZE) => return FileErrorKind::Full,
        Some(
            ffi::SQLITE_CONSTRAINT_CHECK
            | ffi::SQLITE_CONSTRAINT_TRIGGER
            | ffi::SQLITE_CONSTRAINT_DATATYPE
            | ffi::SQLITE_TOOBIG,
        ) => return FileErrorKind::Refused,
        _ => {}
    }
    let Some(code) = error.sqlite_error_code() else {
        return FileErrorKind::Misused;
    };
    match code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed => FileErrorKind::Busy,
        ErrorCode::DiskFull => FileErrorKind::Full,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => FileErrorKind::ReadOnly,
        ErrorCode::CannotOpen => FileErrorKind::Missing,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => FileErrorKind::Damaged,
        ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::NoLargeFileSupport => {
            FileErrorKind::Disk
        }
        _ => FileErrorKind::Misused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_too_full_for_the_index_beside_a_file_is_a_full_disk() {
        let error = ffi::Error::new(ffi::SQLITE_IOERR_SHMSIZE);
        let error = rusqlite::Error::SqliteFailure(error, None);
        let error = FileError::of(Path::new("a.db"), &error);
        assert_eq!(error.kind, FileErrorKind::Full);
    }
}
