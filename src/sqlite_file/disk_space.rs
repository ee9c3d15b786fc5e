//! The free space of the disk that a file is on: appends are refused before the disk is full.
//!
//! Pages whose rows were deleted stay in the file, so they count as free space.

use std::io;
use std::path::Path;

/// What stays free for the rest of the machine and for checkpoints: this much, or a tenth of a small
/// disk.
const RESERVE: u64 = 64 << 20;

/// The size of a disk and what is free of it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    free: u64,
    total: u64,
}

impl DiskSpace {
    /// Of the disk that `folder` is on.
    pub fn of(folder: &Path) -> io::Result<DiskSpace> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(DiskSpace {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }

    /// In bytes.
    pub fn free(self) -> u64 {
        self.free
    }

    fn reserve(self) -> u64 {
        RESERVE.min(self.total / 10)
    }

    /// Whether `bytes` more may be written to a file that has `reusable` bytes free in itself. They are
    /// written twice before they are kept once, so some of the disk must be free in any case.
    pub fn has_room(self, bytes: u64, reusable: u64) -> bool {
        let (needed, reserve) = (bytes.saturating_mul(2), self.reserve());
        self.free >= (reserve / 4).saturating_add(needed)
            && self.free.saturating_add(reusable) >= reserve.saturating_add(needed)
    }

    /// The same for what may use the reserve.
    pub fn has_room_in_reserve(self, bytes: u64) -> bool {
        self.free >= (self.reserve() / 8).saturating_add(bytes.saturating_mul(2))
    }

    /// The message that there is no room, and what to do about it.
    pub fn shortage(self, folder: &Path) -> String {
        format!(
            "the disk of `{}` has {} left, and the last {} stay free: make room, work then resumes \
             by itself",
            folder.display(),
            mebibytes(self.free),
            mebibytes(self.reserve()),
        )
    }
}

/// A size as messages show it.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_a_small_disk_and_64_mib_of_a_large_one_stay_free() {
        let small = |free| DiskSpace {
            free,
            total: 10_000,
        };
        assert!(small(1_000).has_room(0, 0));
        assert!(!small(999).has_room(0, 0));
        assert!(!small(1_001).has_room(1, 0));
        let large = |free| DiskSpace {
            free,
            total: 1 << 40,
        };
        assert!(large(64 << 20).has_room(0, 0));
        assert!(!large((64 << 20) - 1).has_room(0, 0));
    }

    #[test]
    fn free_pages_count_and_some_records_may_use_the_reserve() {
        let space = DiskSpace {
            free: 300,
            total: 10_000,
        };
        assert!(!space.has_room(0, 699));
        assert!(space.has_room(0, 700));
        assert!(space.has_room_in_reserve(0));
        let least = DiskSpace { free: 124, ..space };
        assert!(!least.has_room(0, 10_000) && !least.has_room_in_reserve(0));
    }
}
