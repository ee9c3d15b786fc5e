//! A small disk of one test, to be filled to the last byte and emptied again.
//!
//! It is a tmpfs with a size, which only root may mount; a test that needs one fails where that is
//! not permitted, and says so.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted disk; it is gone with this value.
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    pub fn mount(mebibytes: u32) -> SmallDisk {
        let dir = TempDir::with_prefix("orders-disk-").expect("a temporary folder can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=755")])
            .arg("orders-test")
            .arg(dir.path())
            .output()
            .expect("mount can be started");
        assert!(
            mounted.status.success(),
            "a disk of a known size is a tmpfs, and this user may not mount one; run the tests as \
             root: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        SmallDisk { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// How many bytes are free.
    pub fn room(&self) -> u64 {
        let found = rustix::fs::statvfs(self.path()).expect("the disk is there");
        found.f_bavail * found.f_frsize
    }

    /// Takes what is free but for so many bytes.
    pub fn fill_but(&self, bytes: u64) {
        let taken = self.room().saturating_sub(bytes);
        let zeros = vec![0; usize::try_from(taken).expect("a small disk")];
        let filled = self.open_filler().write_all(&zeros);
        filled.expect("so much was free");
    }

    fn open_filler(&self) -> File {
        let filler = File::options()
            .create(true)
            .append(true)
            .open(self.filler());
        filler.expect("the disk takes another file")
    }

    /// Takes every byte that is free.
    pub fn fill(&self) {
        let mut filler = self.open_filler();
        for size in [1 << 20, 4 << 10] {
            let bytes = vec![0; size];
            loop {
                match filler.write(&bytes) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("the disk cannot be filled: {error}"),
                }
            }
        }
    }

    /// Gives back what `fill` took.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("the disk was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that still has files open there ends after this.
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}
