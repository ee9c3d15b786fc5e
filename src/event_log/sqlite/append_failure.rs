//! A transaction that failed, and whether its records may be in the file all the same.
//!
//! Decides between "not accepted" and "unknown" for the client. A
//! [`FileErrorKind`](crate::sqlite_file::FileErrorKind), made for people, cannot tell them apart.

use rusqlite::{Error as SqlError, ErrorCode};

use crate::sqlite_file::FileError;

/// A transaction that failed.
pub(super) struct AppendFailure {
    pub(super) error: FileError,
    /// It cannot be known whether the records are in the file.
    pub(super) is_unknown: bool,
}

impl AppendFailure {
    /// A failed COMMIT.
    pub(super) fn of_commit(error: FileError, cause: &SqlError) -> AppendFailure {
        AppendFailure {
            error,
            is_unknown: !is_definitely_absent(cause),
        }
    }
}

impl From<FileError> for AppendFailure {
    /// A failure before COMMIT: the records are definitely not in the file.
    fn from(error: FileError) -> AppendFailure {
        AppendFailure {
            error,
            is_unknown: false,
        }
    }
}

/// Whether a COMMIT that failed with `error` has definitely left nothing. Records that did not fit
/// were not written to their end, so no recovery takes them for a commit; a lock that was not given
/// was requested before anything was written. The kind of the [`FileError`] does not tell: an index
/// that does not fit beside the file is a full disk to people, but SQLite notices it when the records are
/// written and synced already.
fn is_definitely_absent(error: &SqlError) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::ReadOnly)
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn failed_with(code: i32) -> SqlError {
        SqlError::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn a_record_that_recovery_may_find_is_never_called_absent() {
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_READONLY] {
            assert!(is_definitely_absent(&failed_with(code)), "{code}");
        }
        let synced = [
            ffi::SQLITE_IOERR_SHMSIZE,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_CANTOPEN,
        ];
        for code in synced {
            assert!(!is_definitely_absent(&failed_with(code)), "{code}");
        }
    }
}
