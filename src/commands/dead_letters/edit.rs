//! `orders dead-letters edit`: mends a payload in an editor, and stores the order.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use uuid::Uuid;

use super::attempts::Attempts;
use super::{open_store, retry};
use crate::commands::Context;
use crate::commands::forgetting::Forgetting;
use crate::config::{EngineArgs, editor};
use crate::exit::{Exit, Failure};
use crate::operations::dead_letters::Attempt;
use crate::order::MAX_DOCUMENT_BYTES;
use crate::store::operator::dead_letters::FoundDeadLetter;

const EXAMPLES: &str = "\
Examples:
  orders dead-letters edit 17
  EDITOR='code --wait' orders dead-letters edit 17

The payload is in a file that only you can read, removed afterwards. When the order
is refused again the file is kept, and its name printed.";

/// The arguments of `orders dead-letters edit`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Its id, as `list` prints it
    id: i64,

    /// Why, kept with who and when
    #[arg(long, value_name = "TEXT", default_value = "")]
    #[arg(hide_default_value = true)]
    why: String,

    #[command(flatten)]
    engines: EngineArgs,
}

/// Opens the editor, then retries with what was written. [`Exit::Failed`] when it is refused again.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (id, log) = (args.id, args.engines.log()?);
    let mut store = open_store(&args.engines, context)?;
    let Some(found) = store.dead_letter(id)? else {
        let message = format!("there is no dead letter {id}");
        return Err(Failure::new(Exit::CheckFailed, message).into());
    };
    check_editable(&found)?;
    // Nothing of the database is held while the editor is open.
    drop(store);
    let payload = found.letter.payload.as_deref().unwrap_or_default();
    let file = write(payload)?;
    let edited = edit(&file);
    let unchanged = matches!(&edited, Ok(edited) if edited == payload);
    let document = match edited {
        Ok(_) if unchanged => {
            remove(&file);
            context.output.info("nothing was changed");
            return Ok(Exit::Done);
        }
        edited => edited?,
    };
    let mut store = open_store(&args.engines, context)?;
    let mut forgetting = Forgetting::open(&log)?;
    let attempt = retry::retry(
        id,
        Some(&document),
        &args.why,
        &mut *store,
        Some(&mut forgetting),
    );
    let attempt = attempt.with_context(|| format!("what you wrote is in `{}`", file.display()))?;
    match attempt {
        Attempt::Refused { .. } => context.output.warn(&format!(
            "what you wrote is in `{0}`: mend it, run `orders dead-letters retry --file {0} --id {id}`, \
             then remove it",
            file.display()
        )),
        _ => remove(&file),
    }
    forgetting.report(context);
    let mut attempts = Attempts::default();
    attempts.add(Some(id), attempt);
    attempts.report(false, context)
}

fn check_editable(found: &FoundDeadLetter) -> anyhow::Result<()> {
    let id = found.id;
    if let Some(resolved) = &found.resolved {
        let message = format!(
            "dead letter {id} is resolved already: {}",
            resolved.resolution
        );
        return Err(Failure::new(Exit::CheckFailed, message).into());
    }
    let kept = found.letter.payload.as_ref().map_or(0, Vec::len);
    if found.is_head() || kept > MAX_DOCUMENT_BYTES {
        let message = format!("dead letter {id} is too long to be an order");
        let hint = "give the order that it should have been with `retry --file FILE --id ID`";
        return Err(Failure::new(Exit::Failed, message).hint(hint).into());
    }
    Ok(())
}

/// Writes the payload to a file that only this user can read.
fn write(payload: &[u8]) -> anyhow::Result<PathBuf> {
    let name = format!("orders-{}.json", Uuid::new_v4().simple());
    let path = std::env::temp_dir().join(name);
    let mut options = OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(&path);
    let written = created.and_then(|mut file| file.write_all(payload));
    written.with_context(|| format!("writing `{}`", path.display()))?;
    Ok(path)
}

/// Waits for the editor, and reads what it wrote.
fn edit(path: &Path) -> anyhow::Result<Vec<u8>> {
    let editor = editor();
    // A shell splits the command as every other program does that reads this variable.
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(path)
        .status();
    let status = status.with_context(|| format!("starting the editor `{editor}`"));
    let checked = status.and_then(|status| match status.success() {
        true => Ok(()),
        false => {
            let message = format!("the editor `{editor}` ended with {status}: nothing was changed");
            Err(Failure::new(Exit::Failed, message).into())
        }
    });
    if let Err(error) = checked {
        remove(path);
        return Err(error);
    }
    let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if length > MAX_DOCUMENT_BYTES as u64 {
        let message = format!("`{}` is longer than an order may be", path.display());
        return Err(Failure::new(Exit::Failed, message).into());
    }
    fs::read(path).with_context(|| format!("reading `{}`", path.display()))
}

fn remove(path: &Path) {
    // It is in a folder for temporary files, and only this user can read it.
    let _ = fs::remove_file(path);
}
