//! Who reads what a child writes: the test, nobody, or somebody who is gone.

use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::process::Stdio;

use rustix::pipe::fcntl_getpipe_size;

/// The other end of a child's stdout or stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reader {
    /// The test collects everything.
    #[default]
    Collects,
    /// The pipe is full from the start and nobody ever reads: every write blocks.
    Never,
    /// The pipe has no reader: every write fails.
    Gone,
}

impl Reader {
    /// The child's end; what is returned beside it must live as long as the child.
    pub(super) fn stdio(self) -> (Stdio, Option<PipeReader>) {
        match self {
            Reader::Collects => (Stdio::piped(), None),
            Reader::Never => {
                let (reader, mut writer) = pipe().expect("a pipe can be made");
                fill(&mut writer);
                (writer.into(), Some(reader))
            }
            Reader::Gone => (pipe().expect("a pipe can be made").1.into(), None),
        }
    }
}

fn fill(writer: &mut PipeWriter) {
    let size = fcntl_getpipe_size(&*writer).expect("a pipe has a size");
    writer
        .write_all(&vec![b'\n'; size])
        .expect("an empty pipe takes its size");
}
