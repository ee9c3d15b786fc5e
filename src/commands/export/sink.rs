//! Where an export goes: stdout, or a file that takes its name only when it is complete.
//!
//! A file is written as FILE.part, has everything on the disk, and is then renamed: whoever finds
//! FILE has all of it. The surprising thing: FILE.part is removed when the export does not end well,
//! but an older FILE stays.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::data_folder::{folder_of, sync_folder};
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// The name of stdout.
pub(super) const STDOUT: &str = "-";

/// As much is gathered before it is written.
const BUFFER_BYTES: usize = 64 * 1024;

pub(super) struct Sink<'o> {
    buffer: Vec<u8>,
    end: End<'o>,
}

enum End<'o> {
    Stdout(&'o Output),
    Part(Part),
}

/// A file that is not complete yet.
struct Part {
    file: File,
    path: PathBuf,
    goal: PathBuf,
    is_finished: bool,
}

impl<'o> Sink<'o> {
    /// A file, or stdout where that is named.
    pub(super) fn open(path: &Path, output: &'o Output) -> anyhow::Result<Sink<'o>> {
        if path != Path::new(STDOUT) {
            return Sink::file(path);
        }
        Ok(Sink::new(End::Stdout(output)))
    }

    /// A file of that name; it and FILE.part may be read by this user alone.
    pub(super) fn file(goal: &Path) -> anyhow::Result<Sink<'o>> {
        // Taking the name of a device or a folder would harm others, or fail at the very end.
        if fs::metadata(goal).is_ok_and(|found| !found.is_file()) {
            let message = format!("`{}` is there, and is no file", goal.display());
            let hint = "name a file, or write to stdout and redirect that";
            return Err(Failure::new(Exit::Usage, message).hint(hint).into());
        }
        let mut path = OsString::from(goal.as_os_str());
        path.push(".part");
        let path = PathBuf::from(path);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| {
                let message = format!("writing `{}`", path.display());
                Failure::new(Exit::Usage, message)
            })?;
        Ok(Sink::new(End::Part(Part {
            file,
            path,
            goal: goal.to_owned(),
            is_finished: false,
        })))
    }

    fn new(end: End<'o>) -> Sink<'o> {
        Sink {
            buffer: Vec::with_capacity(2 * BUFFER_BYTES),
            end,
        }
    }

    /// Writes a line; `false` when nobody reads any more.
    pub(super) fn write(&mut self, line: &[u8]) -> anyhow::Result<bool> {
        self.buffer.extend_from_slice(line);
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(true);
        }
        self.flush()
    }

    fn flush(&mut self) -> anyhow::Result<bool> {
        let is_read = match &mut self.end {
            End::Stdout(output) => output.lines(&self.buffer)?,
            End::Part(part) => {
                part.file
                    .write_all(&self.buffer)
                    .with_context(|| format!("writing `{}`", part.path.display()))?;
                true
            }
        };
        self.buffer.clear();
        Ok(is_read)
    }

    /// Everything is written: a file is on the disk under its name when this returns.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        let End::Part(mut part) = self.end else {
            return Ok(());
        };
        let goal = part.goal.display().to_string();
        part.file
            .sync_all()
            .and_then(|()| fs::rename(&part.path, &part.goal))
            .and_then(|()| sync_folder(folder_of(&part.goal)))
            .with_context(|| format!("writing `{goal}`"))?;
        part.is_finished = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}
