//! The folder of the control sockets, which only its user can enter.
//!
//! Owns the folder's checks, the names in it, and the removal of the sockets of killed services.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, ensure};
use rustix::process::{Pid, geteuid, test_kill_process};

const EXTENSION: &str = "sock";

/// A socket of the folder, and what its name says of the service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketFile {
    pub role: String,
    pub pid: u32,
    pub path: PathBuf,
}

/// The path of this process's socket.
pub fn socket_path(folder: &Path, role: &str) -> PathBuf {
    folder.join(format!("{role}-{}.{EXTENSION}", process::id()))
}

/// Creates the folder if it does not exist. One that is a symlink, belongs to another user or can be
/// entered by others is an error: another user could impersonate a service.
pub fn prepare(folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    if let Err(error) = DirBuilder::new().mode(0o700).create(folder)
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("creating `{shown}`"));
    }
    check(folder)
}

/// The sockets of this user in the folder, by role and pid; none when there is no folder. Opens none of
/// them. A folder that [`prepare`] refuses is an error.
pub fn sockets(folder: &Path) -> anyhow::Result<Vec<SocketFile>> {
    let reading = || format!("reading `{}`", folder.display());
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        _ => check(folder)?,
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        // It may be gone already.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let is_own = metadata.uid() == geteuid().as_raw();
        if metadata.file_type().is_socket() && is_own {
            found.extend(socket_file(entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The parts of a name that [`socket_path`] makes.
fn socket_file(path: PathBuf) -> Option<SocketFile> {
    let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?;
    let (role, pid) = name.strip_suffix('.')?.rsplit_once('-')?;
    let (role, pid) = (role.to_owned(), pid.parse().ok()?);
    Some(SocketFile { role, pid, path })
}

fn check(folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    let metadata = fs::symlink_metadata(folder).with_context(|| format!("reading `{shown}`"))?;
    ensure!(metadata.is_dir(), "`{shown}` is not a folder");
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    ensure!(
        owner == user,
        "`{shown}` belongs to user {owner}, and this process runs as {user}"
    );
    let mode = metadata.mode() & 0o7777;
    ensure!(
        mode & 0o077 == 0,
        "`{shown}` has mode {mode:o} and must have 700"
    );
    Ok(())
}

/// Removes the sockets of processes that were killed. One that cannot be removed stays.
pub fn remove_stale(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        let path = entry.path();
        if is_socket && is_of_ended_process(&path) && !is_listening(&path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether the process that created the socket has ended (or is this one). A service that is starting
/// binds its socket a moment before it listens, so a refused connection alone is no proof.
pub fn is_of_ended_process(path: &Path) -> bool {
    let name = path.file_stem().and_then(|stem| stem.to_str());
    let pid = name.and_then(|name| name.rsplit('-').next()?.parse().ok());
    let Some(pid) = pid.and_then(Pid::from_raw) else {
        return false;
    };
    // A process of another user only reuses the number of the one that created the socket.
    pid == rustix::process::getpid() || test_kill_process(pid).is_err()
}

/// Whether connections are accepted at `path`; true as well when that cannot be found out.
pub fn is_listening(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::NotFound
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn refused(folder: &Path) -> String {
        prepare(folder).unwrap_err().to_string()
    }

    #[test]
    fn the_folder_is_created_for_its_user_alone_and_reused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("orders");
        for _ in 0..2 {
            prepare(&folder).unwrap();
        }
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_folder_that_others_can_enter_or_redirect_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let open = parent.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        assert!(refused(&open).ends_with("has mode 755 and must have 700"));

        let link = parent.path().join("link");
        let target = parent.path().join("target");
        prepare(&target).unwrap();
        symlink(&target, &link).unwrap();
        assert!(refused(&link).ends_with("is not a folder"));

        let missing = parent.path().join("missing").join("orders");
        assert!(refused(&missing).starts_with("creating "));
    }

    #[test]
    fn sockets_are_listed_with_the_role_and_the_pid_of_their_names() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("orders");
        assert_eq!(sockets(&folder).unwrap(), []);
        prepare(&folder).unwrap();
        let names = [
            "up-10.sock",
            "api-9.sock",
            "api-x.sock",
            "api.sock",
            "api-9",
        ];
        for name in names {
            drop(UnixListener::bind(folder.join(name)).unwrap());
        }
        fs::write(folder.join("consumer-1.sock"), "").unwrap();
        symlink(folder.join("up-10.sock"), folder.join("up-11.sock")).unwrap();
        let expected = [("api", 9), ("up", 10)].map(|(role, pid)| SocketFile {
            role: role.into(),
            pid,
            path: folder.join(format!("{role}-{pid}.sock")),
        });
        assert_eq!(sockets(&folder).unwrap(), expected);
        fs::set_permissions(&folder, Permissions::from_mode(0o770)).unwrap();
        let error = sockets(&folder).unwrap_err().to_string();
        assert!(error.ends_with("has mode 770 and must have 700"), "{error}");
    }

    #[test]
    fn only_sockets_of_ended_processes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // The greatest pid of Linux is below this one.
        let (dead, own) = (i32::MAX, process::id());
        let left = [
            at(&format!("api-{dead}.sock")),
            at(&format!("up-{own}.sock")),
        ];
        for path in &left {
            drop(UnixListener::bind(path).unwrap());
        }
        let other = at("api-1.sock");
        drop(UnixListener::bind(&other).unwrap());
        let listening = at(&format!("consumer-{dead}.sock"));
        let _listener = UnixListener::bind(&listening).unwrap();
        let file = at(&format!("file-{dead}.sock"));
        fs::write(&file, "").unwrap();

        remove_stale(folder.path());
        assert!(left.iter().all(|path| !path.exists()));
        // Process 1 exists, and may be about to listen.
        assert!(other.exists() && listening.exists() && file.exists());
    }
}
