//! The target of an export: stdout, a device or pipe, or a file that is renamed when it is complete.
//!
//! A file is written as FILE.part, synced, and then renamed, so that FILE is always complete. When the
//! export fails, FILE.part is removed, and an older FILE stays.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::OFlags;

use crate::data_folder::{folder_of, sync_folder, try_lock};
use crate::exit::Failure;
use crate::output::Output;

/// The name of stdout.
pub(super) const STDOUT: &str = "-";

/// Lines are buffered up to this size.
const BUFFER_BYTES: usize = 64 * 1024;

pub(super) struct Sink<'o> {
    buffer: Vec<u8>,
    end: End<'o>,
}

enum End<'o> {
    Stdout(&'o Output),
    /// A device or a pipe, which is written as it is.
    Stream(File, PathBuf),
    Part(Part),
}

/// A file that is not complete yet.
struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_finished: bool,
}

impl<'o> Sink<'o> {
    /// Opens a file, or stdout when `path` is [`STDOUT`].
    pub(super) fn open(path: &Path, output: &'o Output) -> anyhow::Result<Sink<'o>> {
        if path != Path::new(STDOUT) {
            return Sink::file(path);
        }
        Ok(Sink::new(End::Stdout(output)))
    }

    /// Opens a file that only this user can read.
    pub(super) fn file(target: &Path) -> anyhow::Result<Sink<'o>> {
        let writing = |path: &Path| Failure::usage(format!("writing `{}`", path.display()));
        if let Ok(found) = fs::metadata(target)
            && !found.is_file()
        {
            // Renaming to a folder would fail at the end.
            if found.is_dir() {
                let message = format!("`{}` is a folder", target.display());
                return Err(Failure::usage(message).hint("name a file in it").into());
            }
            let stream = OpenOptions::new().write(true).open(target);
            let stream = stream.with_context(|| writing(target))?;
            return Ok(Sink::new(End::Stream(stream, target.to_owned())));
        }
        let path = part(target);
        let file = create(&path).with_context(|| writing(&path))?;
        Ok(Sink::new(End::Part(Part {
            file,
            path,
            target: target.to_owned(),
            is_finished: false,
        })))
    }

    fn new(end: End<'o>) -> Sink<'o> {
        Sink {
            buffer: Vec::with_capacity(2 * BUFFER_BYTES),
            end,
        }
    }

    /// Writes a line; `false` when the pipe is closed.
    pub(super) fn write(&mut self, line: &[u8]) -> anyhow::Result<bool> {
        self.buffer.extend_from_slice(line);
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(true);
        }
        self.flush()
    }

    fn flush(&mut self) -> anyhow::Result<bool> {
        let is_open = match &mut self.end {
            End::Stdout(output) => output.lines(&self.buffer)?,
            End::Stream(stream, path) => match stream.write_all(&self.buffer) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => false,
                written => {
                    written.with_context(|| format!("writing `{}`", path.display()))?;
                    true
                }
            },
            End::Part(part) => {
                part.file
                    .write_all(&self.buffer)
                    .with_context(|| format!("writing `{}`", part.path.display()))?;
                true
            }
        };
        self.buffer.clear();
        Ok(is_open)
    }

    /// Writes the rest; a file is then synced and renamed.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        let End::Part(mut part) = self.end else {
            return Ok(());
        };
        let target = part.target.display().to_string();
        part.file
            .sync_all()
            .and_then(|()| fs::rename(&part.path, &part.target))
            .and_then(|()| sync_folder(folder_of(&part.target)))
            .with_context(|| format!("writing `{target}`"))?;
        part.is_finished = true;
        Ok(())
    }
}

/// The file that is written and then renamed to the target.
pub(super) fn part(target: &Path) -> PathBuf {
    let mut path = OsString::from(target.as_os_str());
    path.push(".part");
    path.into()
}

/// Creates a file that only this user can read, locked. What is there is left from an export that was
/// killed, or a link, or a file that others can read: it is removed, unless another export writes it.
fn create(path: &Path) -> io::Result<File> {
    let found = OpenOptions::new()
        .write(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path);
    if let Ok(found) = found
        && !try_lock(&found)?
    {
        return Err(io::Error::other("another export is writing it"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    try_lock(&file)?;
    Ok(file)
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn orders_are_never_written_into_what_another_user_has_put_in_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("orders.ndjson");
        let precious = folder.path().join("precious");
        fs::write(&precious, "kept").unwrap();
        let exported = |text: &str| {
            let mut sink = Sink::file(&target).unwrap();
            sink.write(text.as_bytes()).unwrap();
            sink.finish().unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
            assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o600);
        };
        symlink(&precious, part(&target)).unwrap();
        exported("one");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "kept");
        // A file that others have open, too.
        fs::hard_link(&precious, part(&target)).unwrap();
        exported("two");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "kept");
    }

    #[test]
    fn two_exports_never_write_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("orders.ndjson");
        let first = Sink::file(&target).unwrap();
        let Err(error) = Sink::file(&target) else {
            panic!("both write it")
        };
        assert!(
            format!("{error:#}").contains("another export is writing it"),
            "{error:#}"
        );
        first.finish().unwrap();
        Sink::file(&target).unwrap().finish().unwrap();
    }
}
