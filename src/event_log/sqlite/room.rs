//! Room on the disk: appending ends before the disk is full, and says so before that.
//!
//! Owns the reserve, and what the operators should know of a topic that works. The surprising
//! thing: pages that retention has freed stay in the file, so they count as room.

use super::*;

/// What is left free for the rest of the machine, and for moving records into the file: this much,
/// or a tenth of a small disk.
const RESERVE: u64 = 64 << 20;

/// From here on a file beside the topic's is told of.
const LARGE_WAL: u64 = 256 << 20;

/// What a disk has, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) free: u64,
    pub(super) disk: u64,
}

impl Room {
    /// Of the disk that the folder is on.
    pub(super) fn of(folder: &Path) -> io::Result<Room> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(Room {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            disk: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }

    fn reserve(self) -> u64 {
        RESERVE.min(self.disk / 10)
    }

    /// Whether so many more bytes of orders may be written where so many in the file are free. They
    /// are written twice before they are there once, so some of the disk must be free in any case.
    pub(super) fn takes(self, bytes: u64, reusable: u64) -> bool {
        let (needed, reserve) = (bytes.saturating_mul(2), self.reserve());
        self.free >= (reserve / 4).saturating_add(needed)
            && self.free.saturating_add(reusable) >= reserve.saturating_add(needed)
    }

    /// The same for lookups, which live on the reserve: orders can still be read.
    pub(super) fn takes_lookups(self, bytes: u64) -> bool {
        self.free >= (self.reserve() / 8).saturating_add(bytes.saturating_mul(2))
    }

    pub(super) fn lack(self, folder: &Path) -> String {
        format!(
            "the disk of `{}` has {} left, and the last {} stay free: make room, then it goes on \
             by itself",
            folder.display(),
            mebibytes(self.free),
            mebibytes(self.reserve()),
        )
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// What is the matter with a topic, as its writer saw it last.
#[derive(Default)]
pub(super) struct Health(Mutex<Ills>);

#[derive(Clone, Default)]
struct Ills {
    /// Nothing can be written.
    trouble: Option<String>,
    /// No order can be.
    room: Option<String>,
    wal: Option<String>,
}

impl Health {
    /// The worst of it, in a sentence.
    pub(super) fn complaint(&self) -> Option<String> {
        let ills = self.ills().clone();
        ills.trouble.or(ills.room).or(ills.wal)
    }

    /// Why no order is taken.
    pub(super) fn lacks_room(&self) -> Option<String> {
        self.ills().room.clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        self.ills().trouble = trouble;
    }

    pub(super) fn set_room(&self, lack: Option<String>) {
        self.ills().room = lack;
    }

    /// The file beside the topic's has that size, and could be emptied or not.
    pub(super) fn set_wal(&self, wal: &Path, bytes: u64, is_held: bool) {
        self.ills().wal = (is_held && bytes >= LARGE_WAL).then(|| {
            format!(
                "`{}` has grown to {} and cannot be emptied: another program has been reading the \
                 topic for long, end that",
                wal.display(),
                mebibytes(bytes),
            )
        });
    }

    fn ills(&self) -> MutexGuard<'_, Ills> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_a_small_disk_and_64_mib_of_a_large_one_stay_free() {
        let small = |free| Room { free, disk: 10_000 };
        assert!(small(1_000).takes(0, 0));
        assert!(!small(999).takes(0, 0));
        assert!(!small(1_001).takes(1, 0));
        let large = |free| Room {
            free,
            disk: 1 << 40,
        };
        assert!(large(64 << 20).takes(0, 0));
        assert!(!large((64 << 20) - 1).takes(0, 0));
    }

    #[test]
    fn what_retention_freed_is_room_and_lookups_live_on_the_reserve() {
        let room = Room {
            free: 300,
            disk: 10_000,
        };
        assert!(!room.takes(0, 699));
        assert!(room.takes(0, 700));
        assert!(room.takes_lookups(0));
        let least = Room { free: 124, ..room };
        assert!(!least.takes(0, 10_000) && !least.takes_lookups(0));
    }
}
