//! A small disk for one test, which can be filled to the last byte.
//!
//! It is a tmpfs of limited size, which only root may mount; where that is not permitted, the test
//! fails and says so.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted disk; dropping it unmounts it.
pub struct SmallDisk {
    path: PathBuf,
    _folder: Option<TempDir>,
}

impl SmallDisk {
    /// Mounts a disk at a new temporary folder.
    pub fn mount(mebibytes: u32) -> SmallDisk {
        let folder = TempDir::with_prefix("orders-disk-").expect("a temporary folder can be made");
        let options = format!("size={mebibytes}m,mode=755");
        let mut disk = SmallDisk::mount_at(folder.path(), &options);
        disk._folder = Some(folder);
        disk
    }

    /// Mounts a disk at an existing folder, with these options of tmpfs.
    pub fn mount_at(path: &Path, options: &str) -> SmallDisk {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "orders-test"])
            .arg(path)
            .output()
            .expect("mount can be started");
        assert!(
            mounted.status.success(),
            "this user may not mount a tmpfs; run the tests as root: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        SmallDisk {
            path: path.to_owned(),
            _folder: None,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes are free.
    pub fn free_bytes(&self) -> u64 {
        let found = rustix::fs::statvfs(self.path()).expect("the disk is there");
        found.f_bavail * found.f_frsize
    }

    /// Fills the disk except for so many bytes.
    pub fn fill_except(&self, bytes: u64) {
        let filled = self.free_bytes().saturating_sub(bytes);
        let zeros = vec![0; usize::try_from(filled).expect("a small disk")];
        let filled = self.open_filler().write_all(&zeros);
        filled.expect("the bytes were free");
    }

    fn open_filler(&self) -> File {
        let filler = File::options()
            .create(true)
            .append(true)
            .open(self.filler());
        filler.expect("the disk has room for a file")
    }

    /// Fills the disk to the last byte.
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

    /// Removes what `fill` wrote.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("the disk was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that still has files open here ends later.
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}
