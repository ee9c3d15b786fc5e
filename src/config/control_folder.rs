//! The folder of the control sockets of this user's services.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::process::geteuid;

/// `$XDG_RUNTIME_DIR/orders` where that folder is this user's, else `orders-<uid>` in the temporary
/// folder. Not a setting of `.env`: every program of the user has to find the same one.
pub fn control_folder() -> PathBuf {
    let user = geteuid().as_raw();
    let runtime_dir = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let is_own = |path: &PathBuf| fs::metadata(path).is_ok_and(|folder| folder.uid() == user);
    match runtime_dir.filter(|path| path.is_absolute() && is_own(path)) {
        Some(path) => path.join("orders"),
        None => env::temp_dir().join(format!("orders-{user}")),
    }
}
