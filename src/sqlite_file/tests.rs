//! A file that changes while it is open: replaced, truncated, its WAL removed or held.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;

/// A file with a table of one row, and a connection that can write it.
struct World {
    folder: TempDir,
    file: Arc<GuardedFile>,
    open: OpenFile,
}

const INSERT: &str = "INSERT INTO t VALUES (zeroblob(10000))";

impl World {
    fn new() -> World {
        let folder = TempDir::new().unwrap();
        let file = Arc::new(GuardedFile::new(folder.path().join("a.db"), "hint"));
        fs::write(file.path(), "").unwrap();
        let open = file.open(Access::Create, |_| Ok(())).unwrap();
        let world = World { folder, file, open };
        world
            .open
            .connection
            .execute_batch("CREATE TABLE t (a)")
            .unwrap();
        world.insert();
        world
    }

    fn insert(&self) {
        self.open.connection.execute_batch(INSERT).unwrap();
    }

    fn reopen(&self) -> Result<OpenFile, FileError> {
        self.file.open(Access::Write, |_| Ok(()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn rows(open: &OpenFile) -> i64 {
    let count = "SELECT count(*) FROM t";
    open.run(|connection| connection.query_row(count, [], |row| row.get(0)))
        .unwrap()
}

#[test]
fn a_replaced_file_is_not_opened_beside_the_wal_of_the_one_before() {
    let world = World::new();
    let other = World::new();
    drop(other.open);
    assert!(world.open.is_current());
    fs::rename(other.file.path(), world.file.path()).unwrap();
    let error = world.open.ensure_current().unwrap_err();
    assert_eq!(error.kind, FileErrorKind::Changed);
    let error = world.reopen().err().unwrap();
    assert_eq!(error.kind, FileErrorKind::ForeignWal);
    assert!(error.to_string().contains("a.db-wal"), "{error}");
    fs::remove_file(world.path("a.db-wal")).unwrap();
    fs::remove_file(world.path("a.db-shm")).unwrap();
    world.reopen().unwrap();
}

#[test]
fn a_truncated_file_is_neither_used_nor_opened_again() {
    let world = World::new();
    assert!(world.open.maintain_wal(true).unwrap());
    assert!(world.open.is_current());
    let length = fs::metadata(world.file.path()).unwrap().len();
    let cut = OpenOptions::new().write(true).open(world.path("a.db"));
    cut.unwrap().set_len(length / 2).unwrap();
    assert!(!world.open.is_current());
    let error = world.open.checkpoint(Checkpoint::Passive).unwrap_err();
    assert_eq!(error.kind, FileErrorKind::Changed);
    let error = world.reopen().err().unwrap();
    assert_eq!(error.kind, FileErrorKind::Damaged);
    assert!(error.to_string().contains("truncated"), "{error}");
}

#[test]
fn rows_of_a_wal_that_was_removed_under_a_writer_are_moved_into_the_file() {
    let world = World::new();
    fs::remove_file(world.path("a.db-wal")).unwrap();
    assert!(!world.open.is_current());
    drop(world.open);
    let open = world.file.open(Access::Write, |_| Ok(())).unwrap();
    assert_eq!(rows(&open), 1);
}

#[test]
fn a_large_wal_that_a_reader_holds_is_a_warning_until_it_can_be_emptied() {
    let world = World::new();
    let reader = world.reopen().unwrap();
    let snapshot = reader.connection.unchecked_transaction().unwrap();
    assert_eq!(rows(&reader), 1);
    world.insert();
    assert!(!world.open.maintain_wal(true).unwrap());
    assert_eq!(world.file.warnings.first(), None);
    // What lies behind the last commit counts for nothing but the length.
    let wal = OpenOptions::new().write(true).open(world.path("a.db-wal"));
    wal.unwrap().set_len(300 << 20).unwrap();
    assert!(!world.open.maintain_wal(false).unwrap());
    let warning = world.file.warnings.first().unwrap();
    assert!(warning.contains("a.db-wal` has grown to 300"), "{warning}");
    snapshot.commit().unwrap();
    assert!(world.open.maintain_wal(false).unwrap());
    assert_eq!(world.file.warnings.first(), None);
}

#[test]
fn a_file_behind_a_link_is_guarded_with_the_wal_beside_it() {
    let world = World::new();
    let links = TempDir::new().unwrap();
    let link = links.path().join("link.db");
    std::os::unix::fs::symlink(world.file.path(), &link).unwrap();
    let file = Arc::new(GuardedFile::new(link, "hint"));
    let open = file.open(Access::Write, |_| Ok(())).unwrap();
    assert_eq!(rows(&open), 1);
    assert!(open.is_current());
    fs::remove_file(world.path("a.db-wal")).unwrap();
    assert!(!open.is_current());
}

#[test]
fn a_path_that_cannot_be_a_file_is_an_error_with_the_hint() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for (path, kind) in [
        (folder.path().to_owned(), FileErrorKind::NotAFile),
        (folder.path().join("file/a.db"), FileErrorKind::NotAFile),
        (folder.path().join("a.db"), FileErrorKind::Missing),
    ] {
        let file = Arc::new(GuardedFile::new(path, "hint"));
        let error = file.open(Access::Write, |_| Ok(())).err().unwrap();
        assert_eq!(error.kind, kind, "{error}");
        let has_hint = error.to_string().contains("(hint)");
        assert_eq!(has_hint, kind == FileErrorKind::NotAFile, "{error}");
    }
}
