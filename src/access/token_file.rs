//! The file of the tokens, read again when it changes.
//!
//! # Invariants
//!
//! - The file is a regular one that belongs to this user or root and that nobody else can write:
//!   otherwise others could let themselves in.
//! - A file that cannot be used any more lets nobody else in and shuts nobody out: the last good one
//!   counts, and a warning says so once for each reason.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use tracing::{info, warn};

use super::token::Tokens;
use crate::shutdown::Shutdown;
use crate::sync::lock;

/// How often the file is read. It is small, and its time stamps need not change with its content.
const READ_INTERVAL: Duration = Duration::from_secs(1);

const MAX_BYTES: u64 = 1 << 20;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token file `{path}` cannot be used: {reason}")]
pub struct TokenFileError {
    path: String,
    reason: String,
    /// What the reader can do about it.
    pub hint: Option<String>,
}

/// A file of tokens, and the last good state of it.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    tokens: RwLock<Arc<Tokens>>,
    last_read: Mutex<LastRead>,
}

#[derive(Debug)]
struct LastRead {
    /// The text of the last good file.
    text: Vec<u8>,
    /// Why the file cannot be used now.
    error: Option<TokenFileError>,
}

impl TokenFile {
    /// Reads the file.
    pub fn open(path: &Path) -> Result<TokenFile, TokenFileError> {
        let (text, tokens) = read(path)?;
        info!("{} tokens in `{}`", tokens.len(), path.display());
        Ok(TokenFile {
            path: path.to_owned(),
            tokens: RwLock::new(Arc::new(tokens)),
            last_read: Mutex::new(LastRead { text, error: None }),
        })
    }

    /// The tokens that count now.
    pub fn tokens(&self) -> Arc<Tokens> {
        let tokens = self.tokens.read();
        tokens.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the last good file counts and not the one that is there now.
    pub fn error(&self) -> Option<String> {
        lock(&self.last_read).error.as_ref().map(describe)
    }

    /// Reads the file every second, in a thread, until a stop is requested.
    pub fn watch(self: Arc<Self>, shutdown: Shutdown) -> anyhow::Result<()> {
        thread::Builder::new()
            .name("watch-tokens".into())
            .spawn(move || {
                while !shutdown.wait_timeout(READ_INTERVAL) {
                    self.read_again();
                }
            })
            .context("starting the thread `watch-tokens`")?;
        Ok(())
    }

    /// Takes what the file says now, or reports why it cannot.
    pub(super) fn read_again(&self) {
        let read = read(&self.path);
        let mut last = lock(&self.last_read);
        match read {
            Ok((text, tokens)) => {
                if last.error.take().is_some() || last.text != text {
                    let (count, path) = (tokens.len(), self.path.display());
                    info!("{count} tokens in `{path}`, which has changed");
                }
                if last.text != text {
                    last.text = text;
                    *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens.into();
                }
            }
            Err(error) if last.error.as_ref() == Some(&error) => {}
            Err(error) => {
                warn!("{}", describe(&error));
                last.error = Some(error);
            }
        }
    }
}

fn describe(error: &TokenFileError) -> String {
    format!("{error}; the tokens that were read before remain valid")
}

fn read(path: &Path) -> Result<(Vec<u8>, Tokens), TokenFileError> {
    let refused = |reason: String| TokenFileError {
        path: path.display().to_string(),
        reason,
        hint: None,
    };
    let file = open(path).map_err(|error| refused(error.to_string()))?;
    let metadata = file.metadata();
    let metadata = metadata.map_err(|error| refused(error.to_string()))?;
    if !metadata.is_file() {
        return Err(refused("it is not a regular file".into()));
    }
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    if owner != user && owner != 0 {
        let why = format!("it belongs to user {owner}, neither to this user ({user}) nor to root");
        return Err(refused(why));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(TokenFileError {
            hint: Some(format!("chmod go-w '{}'", path.display())),
            ..refused(format!("others can write it (mode {mode:04o})"))
        });
    }
    let mut text = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut text);
    read.map_err(|error| refused(error.to_string()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(refused("it is larger than 1 MiB".into()));
    }
    let tokens = Tokens::parse(&text).map_err(|reason| TokenFileError {
        hint: Some("`orders token NAME --scope orders:write` prints a line for it".into()),
        ..refused(reason)
    })?;
    Ok((text, tokens))
}

/// Opens it without waiting for the writer of a pipe.
fn open(path: &Path) -> io::Result<File> {
    let without_waiting = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .custom_flags(without_waiting)
        .open(path)
}
