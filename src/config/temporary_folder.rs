//! The folder of temporary files.

use std::env;
use std::path::PathBuf;

/// `$TMPDIR`, else `/tmp`.
pub fn temporary_folder() -> PathBuf {
    env::temp_dir()
}
