//! A transaction that failed, and whether its records may be in the file all the same.
//!
//! Owns the line between "not accepted" and "unknown", which decides what a client is told. The
//! surprising thing: the kind of a trouble, made for people, cannot draw it.

use super::*;

/// A transaction that failed.
pub(super) struct Failed {
    pub(super) trouble: FileError,
    /// It cannot be said whether the records are in the file.
    pub(super) may_be_there: bool,
}

impl Failed {
    pub(super) fn surely(trouble: FileError) -> Failed {
        Failed {
            trouble,
            may_be_there: false,
        }
    }

    /// A COMMIT that returned `error`.
    pub(super) fn committing(trouble: FileError, error: &SqlError) -> Failed {
        Failed {
            trouble,
            may_be_there: !is_surely_absent(error),
        }
    }

    pub(super) fn kind(&self) -> FileErrorKind {
        self.trouble.kind
    }
}

/// Whether a COMMIT that failed so has surely left nothing. What did not fit was not written to its
/// end, so no recovery takes it for a commit; a lock that was not given was asked for before anything
/// was written. The kind of a trouble does not tell: an index that does not fit beside the file is a
/// full disk to people, but SQLite notices it when the records are written and synced already.
fn is_surely_absent(error: &SqlError) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::ReadOnly)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_with(code: i32) -> SqlError {
        SqlError::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn an_order_that_recovery_may_find_is_never_called_surely_absent() {
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_READONLY] {
            assert!(is_surely_absent(&failed_with(code)), "{code}");
        }
        let synced = [
            ffi::SQLITE_IOERR_SHMSIZE,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_CANTOPEN,
        ];
        for code in synced {
            assert!(!is_surely_absent(&failed_with(code)), "{code}");
        }
    }
}
