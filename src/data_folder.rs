//! The folder of the embedded engines: where their files are, and who may use them.
//!
//! Owns the layout (`log/` for the topics, `store.db` for the orders), the folder's creation and the
//! role locks: one API and one consumer a folder, as each file has one writer. The surprising thing:
//! a lock is the kernel's, held by an open file; the file itself stays when its process has ended,
//! however it ended, and means nothing then.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// What to do about a folder that cannot be used.
pub const REMEDY: &str = "the data folder must be on a local disk and writable; --data-dir or \
    ORDERS_DATA_DIR names another one";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has the role.
    #[error(
        "the data folder `{folder}` has {what} already: {holder} (end that, or name another folder \
         with --data-dir or ORDERS_DATA_DIR)"
    )]
    Held {
        folder: String,
        what: &'static str,
        holder: String,
    },
    /// It cannot be made, or not be written.
    #[error("could not {attempt} `{path}`: {reason} ({REMEDY})")]
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

/// A folder of the embedded engines; it need not be there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFolder(PathBuf);

/// What a process does in the folder; each role is held by one process at a time.
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

    fn what(self) -> &'static str {
        match self {
            Role::Api => "an API",
            Role::Consumer => "a consumer",
        }
    }
}

/// A role while this process has it; dropping it, or the end of the process, gives it back.
#[derive(Debug)]
pub struct RoleLock(#[expect(dead_code, reason = "the lock ends when the file is closed")] File);

impl DataFolder {
    pub fn new(path: impl Into<PathBuf>) -> DataFolder {
        DataFolder(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the topics are.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The file of the orders.
    pub fn store(&self) -> PathBuf {
        self.0.join("store.db")
    }

    /// Makes the folder, and every folder above it that is missing, readable by this user alone. It is
    /// on the disk when this returns.
    pub fn create(&self) -> Result<(), FolderError> {
        create_durably(&self.0)
            .map_err(|error| FolderError::unusable("make the data folder", &self.0, error))
    }

    /// Takes a role in the folder, which is made where it is missing. A role that another process has
    /// is an error that names the process.
    pub fn take(&self, role: Role) -> Result<RoleLock, FolderError> {
        self.create()?;
        let path = self.0.join(role.file());
        let failed = |error: io::Error| FolderError::unusable("lock", &path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(self.held(role, &mut file)),
            Err(error) => return Err(failed(error.into())),
        }
        // For people: who has it. The lock is what counts, so a full disk does not matter here.
        let _ = file
            .set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()));
        Ok(RoleLock(file))
    }

    fn held(&self, role: Role, file: &mut File) -> FolderError {
        let mut process = String::new();
        let holder = match file.read_to_string(&mut process) {
            Ok(_) if !process.trim().is_empty() => format!("process {}", process.trim()),
            _ => "another process".to_owned(),
        };
        FolderError::Held {
            folder: self.0.display().to_string(),
            what: role.what(),
            holder,
        }
    }
}

/// Makes `folder` and what is missing above it; it is on the disk when this returns. Also when it was
/// there: whoever made it may have been killed before it was safe.
pub fn create_durably(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        let above = folder_of(folder);
        if !above.is_dir() {
            // Each is on the disk before the one in it is made.
            create_durably(above)?;
        }
        match DirBuilder::new().mode(0o700).create(folder) {
            // Somebody else has made it meanwhile, or something else is there.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !folder.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
            }
            made => made?,
        }
    }
    sync_folder(folder)?;
    match sync_folder(folder_of(folder)) {
        // A folder of somebody else's, which may be passed and not be read.
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

/// Has the entries of `folder` on the disk: a new file is not safe before that.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_held_once_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::new(folder.path().join("a/b"));
        let lock = data.take(Role::Api).unwrap();
        let _other_role = data.take(Role::Consumer).unwrap();
        let held = data.take(Role::Api).unwrap_err();
        let process = std::process::id().to_string();
        assert!(held.to_string().contains(&process), "{held}");
        assert!(held.to_string().contains("a/b"), "{held}");
        drop(lock);
        data.take(Role::Api).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data");
        fs::write(&file, "").unwrap();
        let refused = DataFolder::new(&file).create().unwrap_err().to_string();
        let said = format!(
            "could not make the data folder `{}`: not a dir",
            file.display()
        );
        assert!(refused.starts_with(&said), "{refused}");
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
