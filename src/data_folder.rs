//! The folder of the embedded engines: where their files are, and which processes may use them.
//!
//! Owns the layout (`log/` for the topics, `store.db` for the orders), the folder's creation and
//! the role locks: one API and one consumer per folder, as each file has one writer. A lock is the
//! kernel's and ends with its process, however that ends; a lock file that stays is not a lock.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::{Pid, test_kill_process};

use crate::owner;

/// What to do about a folder that cannot be used.
pub const HINT: &str = "the data folder must be on a local disk and writable; --data-dir or \
    ORDERS_DATA_DIR names another one";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has the role.
    #[error(
        "the data folder `{folder}` has {what} already: {holder} (end that, or name another folder \
         with --data-dir or ORDERS_DATA_DIR)"
    )]
    Locked {
        folder: String,
        what: &'static str,
        holder: String,
    },
    /// Others can change what is in it.
    #[error(
        "the data folder `{folder}` cannot be trusted: {reason}, or name another one with --data-dir or ORDERS_DATA_DIR"
    )]
    Unsafe { folder: String, reason: io::Error },
    /// It cannot be created or written.
    #[error("could not {attempt} `{path}`: {reason} ({HINT})")]
    Unusable {
        attempt: &'static str,
        path: String,
        reason: io::Error,
    },
}

impl FolderError {
    fn unusable(attempt: &'static str, path: &Path, reason: io::Error) -> FolderError {
        FolderError::Unusable {
            attempt,
            path: path.display().to_string(),
            reason,
        }
    }
}

/// A folder of the embedded engines; it need not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFolder(PathBuf);

/// What a process does in the folder; one process at a time has a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Appends orders.
    Api,
    /// Stores orders.
    Consumer,
}

impl Role {
    fn file(self) -> &'static str {
        match self {
            Role::Api => "api.lock",
            Role::Consumer => "consumer.lock",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Role::Api => "an API",
            Role::Consumer => "a consumer",
        }
    }
}

/// A role of this process; dropping it, or the end of the process, releases it.
#[derive(Debug)]
pub struct RoleLock(#[expect(dead_code, reason = "the lock ends when the file is closed")] File);

impl DataFolder {
    pub fn new(path: impl Into<PathBuf>) -> DataFolder {
        DataFolder(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of the topics.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The file of the orders.
    pub fn store(&self) -> PathBuf {
        self.0.join("store.db")
    }

    /// Creates the folder and its missing parents, readable by this user alone, and syncs them.
    pub fn create(&self) -> Result<(), FolderError> {
        create_durably(&self.0)
            .map_err(|error| FolderError::unusable("create the data folder", &self.0, error))?;
        self.check_owner()
    }

    /// Whoever can write a folder can replace its files, or put links in their place. A folder that
    /// does not exist is fine.
    pub fn check_owner(&self) -> Result<(), FolderError> {
        let checked = match fs::metadata(&self.0) {
            Ok(metadata) => owner::check(&metadata),
            // Opening its files tells what is wrong.
            Err(_) => Ok(()),
        };
        checked.map_err(|reason| FolderError::Unsafe {
            folder: self.0.display().to_string(),
            reason,
        })
    }

    /// Locks a role in the folder, which is created where it is missing. The error of a role that
    /// another process has names the process.
    pub fn lock(&self, role: Role) -> Result<RoleLock, FolderError> {
        self.create()?;
        let path = self.0.join(role.file());
        let failed = |error: io::Error| FolderError::unusable("lock", &path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // The lock file gets a process id: never through a link into another file.
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(failed)?;
        if !try_lock(&file).map_err(failed)? {
            return Err(self.locked(role, &mut file));
        }
        // For the error of another process. The lock does not depend on it, so a full disk is
        // ignored.
        let _ = file
            .set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()));
        Ok(RoleLock(file))
    }

    /// The process that has a role; `None` when nobody has it. Takes no lock, not even for a moment: a
    /// process that starts would find it.
    pub fn holder(&self, role: Role) -> Option<u32> {
        let path = self.0.join(role.file());
        let inode = fs::metadata(&path).ok()?.ino();
        let pid = fs::read_to_string(&path).ok()?.trim().parse().ok()?;
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        // A process of another user exists too.
        if test_kill_process(process) == Err(rustix::io::Errno::SRCH) {
            return None;
        }
        // The number may be that of another process by now.
        let locks = fs::read_to_string("/proc/locks").ok();
        let has_lock = locks.is_none_or(|locks| has_lock(&locks, inode));
        has_lock.then_some(pid)
    }

    fn locked(&self, role: Role, file: &mut File) -> FolderError {
        let mut process = String::new();
        let holder = match file.read_to_string(&mut process) {
            Ok(_) if !process.trim().is_empty() => format!("process {}", process.trim()),
            _ => "another process".to_owned(),
        };
        FolderError::Locked {
            folder: self.0.display().to_string(),
            what: role.name(),
            holder,
        }
    }
}

/// Whether a line of the text of /proc/locks has the inode: `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE
/// 0 EOF`.
fn has_lock(locks: &str, inode: u64) -> bool {
    let mut lines = locks.lines().filter(|line| line.contains(" FLOCK "));
    let ending = format!(":{inode}");
    lines.any(|line| line.split_whitespace().any(|word| word.ends_with(&ending)))
}

/// Tries to lock an open file or folder; `false` when another process has the lock. It is the
/// kernel's lock and ends when the file is closed.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Creates `folder` and its missing parents, and syncs them. Syncs an existing one too: the process
/// that created it may have been killed before that.
pub fn create_durably(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        let above = folder_of(folder);
        if !above.is_dir() {
            // Each is synced before the one in it is created.
            create_durably(above)?;
        }
        match DirBuilder::new().mode(0o700).create(folder) {
            // Another process has created it meanwhile, or it is not a folder.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !folder.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
            }
            created => created?,
        }
    }
    sync_folder(folder)?;
    match sync_folder(folder_of(folder)) {
        // The folder of another user, with permission to enter but not to read.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// The folder that `path` is in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Syncs the entries of `folder`: a new file is not durable before that.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_place_of_a_lock_file_never_overwrites_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::new(folder.path().join("data"));
        data.create().unwrap();
        let target = folder.path().join("precious");
        fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, data.path().join("api.lock")).unwrap();
        let error = data.lock(Role::Api).unwrap_err().to_string();
        assert!(error.starts_with("could not lock `"), "{error}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::new(folder.path().join("data"));
        data.create().unwrap();
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = data.lock(Role::Api).unwrap_err();
        assert!(matches!(error, FolderError::Unsafe { .. }), "{error}");
        assert!(error.to_string().contains("chmod go-w"), "{error}");
    }

    #[test]
    fn a_role_is_locked_once_and_released() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::new(folder.path().join("a/b"));
        assert_eq!(data.holder(Role::Api), None);
        let lock = data.lock(Role::Api).unwrap();
        assert_eq!(data.holder(Role::Api), Some(std::process::id()));
        let _other_role = data.lock(Role::Consumer).unwrap();
        let locked = data.lock(Role::Api).unwrap_err();
        let process = std::process::id().to_string();
        assert!(locked.to_string().contains(&process), "{locked}");
        assert!(locked.to_string().contains("a/b"), "{locked}");
        drop(lock);
        assert_eq!(data.holder(Role::Api), None);
        data.lock(Role::Api).unwrap();
    }

    #[test]
    fn a_file_at_the_path_of_the_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data");
        fs::write(&file, "").unwrap();
        let error = DataFolder::new(&file).create().unwrap_err().to_string();
        let file = file.display();
        let expected = format!("could not create the data folder `{file}`: not a dir");
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn the_folder_of_a_bare_name_is_the_current_one() {
        for (path, folder) in [("a", "."), ("a/b", "a"), ("/a", "/"), ("./a", ".")] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }

    #[test]
    fn the_folder_is_for_its_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::new(folder.path().join("data"));
        data.create().unwrap();
        let mode = fs::metadata(data.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
