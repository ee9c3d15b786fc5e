//! One SQLite file, opened and guarded for the embedded log and the embedded store alike.
//!
//! Owns the settings that the promises rest on (a commit is on the disk, a waiting writer is not
//! starved), the comparison of what is open with what is at the path, the WAL, the free space of the
//! disk, and the warnings about each. Knows nothing of topics, orders or tables.
//!
//! # Invariants
//!
//! - SQLite goes on writing to a file that was deleted, replaced or truncated, and reports success.
//!   So every use of a connection begins with [`OpenFile::is_current`], and the log calls it again
//!   before each acknowledgement.
//! - A path is examined by `stat` alone. Opening and closing the file by other means than SQLite
//!   would drop the locks that SQLite holds on it.

mod connection;
mod disk_space;
mod error;
mod guarded;
mod warnings;

pub use connection::{Access, LockTimeout, open, with_suffix};
pub use disk_space::DiskSpace;
pub use error::{FileError, FileErrorKind};
pub use guarded::{Checkpoint, GuardedFile, OpenFile};
pub use warnings::{Warning, Warnings};

#[cfg(test)]
mod tests;
