//! The files of the embedded engines: how much room their disk has, and how large their WALs are.

use std::fs;
use std::path::Path;

use super::status::Files;
use crate::data_folder::folder_of;
use crate::sqlite_file::{DiskSpace, with_suffix};

/// Of the file of the store; `None` where the disk cannot be examined. Blocks for the disk.
pub fn of_store(file: &Path) -> Option<Files> {
    let wal = fs::metadata(with_suffix(file, "-wal"));
    of(folder_of(file), wal.map_or(0, |metadata| metadata.len()))
}

/// Of the folder of the topics. Blocks for the disk.
pub fn of_log(folder: &Path) -> Option<Files> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let wals = entries.filter(|entry| entry.file_name().as_encoded_bytes().ends_with(b"-wal"));
    let sizes = wals.filter_map(|wal| Some(wal.metadata().ok()?.len()));
    of(folder, sizes.sum())
}

fn of(folder: &Path, wal_bytes: u64) -> Option<Files> {
    let disk = DiskSpace::of(folder).ok()?;
    Some(Files {
        free_bytes: disk.free(),
        wal_bytes,
        shortage: (!disk.has_room(0, 0)).then(|| disk.shortage(folder)),
    })
}
