//! Groups facts by uid in bounded memory: by a hash of the uid into buckets, which overflow into one
//! temporary file, and are then read back one by one.
//!
//! # Invariants
//!
//! - The facts of a uid come back in the order in which they were added. Uids are compared whole, so
//!   no two orders are ever taken for one.
//! - The file has no name: it is unlinked before anything is written, and ends with this process,
//!   however that ends. Only its user could read it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::facts::{FACT_BYTES, Fact};

/// Ten million orders: 40,000 a bucket, which take some 8 MB as a map.
const BUCKETS: usize = 256;

/// What a bucket keeps in memory: together some 30 MiB, enough for 300,000 orders and their records.
const BUFFER_BYTES: usize = 120 << 10;

/// How much of the disk stays free.
const RESERVE_BYTES: u64 = 64 << 20;

/// What a fact takes with a uid of usual length.
pub(super) const USUAL_BYTES: u64 = 48;

/// Why the buckets cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    #[error("`{}` has {free_mib} MiB left, and it needs about {needed_mib} MiB", .folder.display())]
    NoRoom {
        folder: PathBuf,
        free_mib: u64,
        needed_mib: u64,
    },
    #[error("a temporary file in `{}` failed: {error}", .folder.display())]
    File { folder: PathBuf, error: io::Error },
}

/// Facts by uid.
pub(super) struct Buckets {
    buckets: Vec<Bucket>,
    hash: RandomState,
    folder: PathBuf,
    spill: Option<Spill>,
    /// About what the facts take that are still to come.
    expected_bytes: u64,
}

#[derive(Default)]
struct Bucket {
    buffer: Vec<u8>,
    /// Offset and length of what is in the file.
    chunks: Vec<(u64, usize)>,
}

struct Spill {
    file: File,
    length: u64,
}

impl Buckets {
    /// Buckets for about so many facts, which overflow into a file in `folder`.
    pub(super) fn new(folder: PathBuf, expected: u64) -> Buckets {
        let mut buckets = Vec::new();
        buckets.resize_with(BUCKETS, Bucket::default);
        Buckets {
            buckets,
            hash: RandomState::new(),
            folder,
            spill: None,
            expected_bytes: expected.saturating_mul(USUAL_BYTES),
        }
    }

    pub(super) fn add(&mut self, uid: &[u8], fact: Fact) -> Result<(), SpillError> {
        let number = self.hash.hash_one(uid) % BUCKETS as u64;
        let bucket = &mut self.buckets[number as usize];
        let length = u32::try_from(uid.len()).unwrap_or(u32::MAX);
        bucket.buffer.extend_from_slice(&length.to_le_bytes());
        bucket.buffer.extend_from_slice(&uid[..length as usize]);
        bucket.buffer.extend_from_slice(&fact.encode());
        if bucket.buffer.len() < BUFFER_BYTES {
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self
                .spill
                .insert(create(&self.folder, self.expected_bytes)?),
        };
        spill
            .file
            .write_all_at(&bucket.buffer, spill.length)
            .map_err(|error| failed(&self.folder, error))?;
        bucket.chunks.push((spill.length, bucket.buffer.len()));
        spill.length += bucket.buffer.len() as u64;
        bucket.buffer.clear();
        Ok(())
    }

    /// Folds the facts of each uid, and passes on what became of each.
    pub(super) fn fold<T: Default>(
        self,
        mut add: impl FnMut(&mut T, Fact),
        mut each: impl FnMut(&[u8], T),
    ) -> Result<(), SpillError> {
        let mut chunk = Vec::new();
        for bucket in self.buckets {
            let mut folded: HashMap<Box<[u8]>, T> = HashMap::new();
            for (offset, length) in bucket.chunks {
                chunk.resize(length, 0);
                let spill = self.spill.as_ref().expect("there are chunks in it");
                spill
                    .file
                    .read_exact_at(&mut chunk, offset)
                    .map_err(|error| failed(&self.folder, error))?;
                fold_chunk(&chunk, &mut folded, &mut add);
            }
            fold_chunk(&bucket.buffer, &mut folded, &mut add);
            for (uid, folded) in folded {
                each(&uid, folded);
            }
        }
        Ok(())
    }
}

fn fold_chunk<T: Default>(
    mut chunk: &[u8],
    folded: &mut HashMap<Box<[u8]>, T>,
    add: &mut impl FnMut(&mut T, Fact),
) {
    while let Some((length, rest)) = chunk.split_first_chunk() {
        let (uid, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        let (fact, rest) = rest
            .split_first_chunk::<FACT_BYTES>()
            .expect("entries are whole");
        chunk = rest;
        let fact = Fact::decode(fact);
        match folded.get_mut(uid) {
            Some(known) => add(known, fact),
            None => add(folded.entry(uid.into()).or_default(), fact),
        }
    }
}

fn create(folder: &Path, expected_bytes: u64) -> Result<Spill, SpillError> {
    let space = rustix::fs::statvfs(folder).map_err(|error| failed(folder, error.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < expected_bytes.saturating_add(RESERVE_BYTES) {
        return Err(SpillError::NoRoom {
            folder: folder.into(),
            free_mib: free >> 20,
            needed_mib: (expected_bytes.saturating_add(RESERVE_BYTES)) >> 20,
        });
    }
    let path = folder.join(format!("orders-verify-{}", uuid::Uuid::new_v4().simple()));
    let create = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    };
    let file = create().map_err(|error| failed(folder, error))?;
    Ok(Spill { file, length: 0 })
}

fn failed(folder: &Path, error: io::Error) -> SpillError {
    SpillError::File {
        folder: folder.into(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::RecordFact;
    use super::*;
    use crate::pipeline::PartitionOffset;

    #[test]
    fn facts_come_back_by_uid_in_their_order_from_a_file_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut buckets = Buckets::new(folder.path().into(), 0);
        let count = 1_500_000_i64;
        for offset in 0..count {
            let uid = (offset % 1_000).to_string();
            let fact = Fact::Record(RecordFact {
                at: PartitionOffset::new(0, offset),
                accepted_at_us: 0,
                excuse: None,
            });
            buckets.add(uid.as_bytes(), fact).unwrap();
        }
        assert!(buckets.spill.is_some(), "all of it is in memory");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let (mut uids, mut facts) = (0, 0);
        let add = |offsets: &mut Vec<i64>, fact| {
            let Fact::Record(record) = fact else {
                panic!("it is a record")
            };
            offsets.push(record.at.offset);
        };
        let each = |uid: &[u8], offsets: Vec<i64>| {
            let first: i64 = std::str::from_utf8(uid).unwrap().parse().unwrap();
            let expected = (first..count).step_by(1_000);
            assert!(offsets.iter().copied().eq(expected), "{first}");
            uids += 1;
            facts += offsets.len() as i64;
        };
        buckets.fold(add, each).unwrap();
        assert_eq!((uids, facts), (1_000, count));
    }

    #[test]
    fn a_disk_without_room_is_an_error_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let error = create(folder.path(), u64::MAX).err().unwrap();
        assert!(matches!(error, SpillError::NoRoom { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
