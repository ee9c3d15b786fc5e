//! Whether others can change a file or a folder that this process is about to trust.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;

/// Checks that it belongs to this user or to root, and that others cannot write it. The group of the
/// process may: many systems give each user a group of their own.
///
/// # Errors
///
/// A sentence with the remedy.
pub fn check(metadata: &Metadata) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    let owner = metadata.uid();
    if owner != user && owner != 0 {
        return Err(refused(format!(
            "it belongs to another user (uid {owner}, and this process runs as {user}): chown it"
        )));
    }
    let mode = metadata.mode() & 0o7777;
    let is_writable = mode & 0o002 != 0 || (mode & 0o020 != 0 && metadata.gid() != group);
    match is_writable {
        true => Err(refused(format!(
            "others can write it (mode {mode:o}): run `chmod go-w`"
        ))),
        false => Ok(()),
    }
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_another_user_owns_or_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for (mode, is_safe) in [
            (0o700, true),
            (0o755, true),
            (0o777, false),
            (0o1777, false),
        ] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            let checked = check(&fs::metadata(path).unwrap());
            assert_eq!(checked.is_ok(), is_safe, "{mode:o}: {checked:?}");
        }
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        // Only root can give a folder away.
        if std::os::unix::fs::chown(path, Some(12_345), None).is_ok() {
            let error = check(&fs::metadata(path).unwrap()).unwrap_err().to_string();
            assert!(error.contains("uid 12345"), "{error}");
        }
    }
}
