//! What becomes of a child's stdout and stderr: captured by the test, never read, or closed.

use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::process::Stdio;

use rustix::pipe::fcntl_getpipe_size;

/// The pipe behind a child's stdout or stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pipe {
    /// The test reads everything.
    #[default]
    Captured,
    /// The pipe is full from the start and never read: every write blocks.
    Blocked,
    /// The pipe has no reader: every write fails.
    Closed,
}

impl Pipe {
    /// The child's end, and a reader that must live as long as the child.
    pub(super) fn stdio(self) -> (Stdio, Option<PipeReader>) {
        match self {
            Pipe::Captured => (Stdio::piped(), None),
            Pipe::Blocked => {
                let (reader, mut writer) = pipe().expect("a pipe can be made");
                fill(&mut writer);
                (writer.into(), Some(reader))
            }
            Pipe::Closed => (pipe().expect("a pipe can be made").1.into(), None),
        }
    }
}

fn fill(writer: &mut PipeWriter) {
    let size = fcntl_getpipe_size(&*writer).expect("a pipe has a size");
    writer
        .write_all(&vec![b'\n'; size])
        .expect("an empty pipe has room for its size");
}
