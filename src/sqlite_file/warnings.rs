//! What operators should know of a file, as its writer saw it last.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::disk_space::mebibytes;

/// From here on a WAL that cannot be emptied is a warning.
pub(super) const LARGE_WAL: u64 = 256 << 20;

/// The warnings of one file. Nothing here blocks.
#[derive(Default)]
pub struct Warnings(Mutex<Current>);

#[derive(Clone, Default)]
struct Current {
    failure: Option<String>,
    shortage: Option<String>,
    large_wal: Option<String>,
}

impl Warnings {
    /// The most serious one, in a sentence.
    pub fn first(&self) -> Option<String> {
        let current = self.current().clone();
        current.failure.or(current.shortage).or(current.large_wal)
    }

    /// Why there is no room.
    pub fn shortage(&self) -> Option<String> {
        self.current().shortage.clone()
    }

    /// Sets, or clears, why the file cannot be written.
    pub fn set_failure(&self, failure: Option<String>) {
        self.current().failure = failure;
    }

    /// Sets, or clears, why there is no room.
    pub fn set_shortage(&self, shortage: Option<String>) {
        self.current().shortage = shortage;
    }

    /// Records the length of a WAL after a checkpoint that was complete or not.
    pub(super) fn set_wal(&self, wal: &Path, bytes: u64, is_complete: bool) {
        self.current().large_wal = (!is_complete && bytes >= LARGE_WAL).then(|| {
            format!(
                "`{}` has grown to {} and cannot be emptied: another program has been reading the \
                 file for long, end that",
                wal.display(),
                mebibytes(bytes),
            )
        });
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
