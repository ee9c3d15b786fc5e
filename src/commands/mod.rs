//! One file a subcommand, named like it: its `Args` and its `run`.
//!
//! A `run` is short: resolve the configuration, open what is needed, do it, report. Nothing below this
//! layer sees flags or the environment.

use std::error::Error;
use std::net::SocketAddr;

use crate::admin::Service;
use crate::config::{Settings, control_folder};
use crate::data_folder::FolderError;
use crate::event_log::LogError;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::store::StoreError;

pub mod completions;
pub mod config;
mod confirm;
mod connect;
pub mod consume;
pub mod create_topics;
pub mod dead_letters;
pub mod erase;
pub mod export;
mod forgetting;
pub mod gaps;
pub mod get;
pub mod lag;
pub mod list;
pub mod migrate;
mod open;
mod ports;
mod readers;
pub mod replay;
pub mod send;
pub mod serve_api;
mod start_line;
pub mod status;
pub mod token;
pub mod trace;
pub mod up;
pub mod verify;
pub mod version;
mod watch;

/// The settings and the streams of a command.
pub struct Context {
    pub settings: Settings,
    pub output: Output,
}

impl Context {
    /// The description of this service for its control socket.
    fn service(&self, role: &'static str, api: Option<SocketAddr>) -> Service {
        Service {
            role,
            api,
            settings: self.settings.entries(),
            control_folder: control_folder(),
        }
    }
}

/// The exit code and the hint of an error: those of the outermost [`Failure`] in its chain, else by
/// the type of its cause.
pub fn exit_of(error: &anyhow::Error) -> (Exit, Option<&str>) {
    if let Some(failure) = Failure::of(error) {
        return (failure.exit, failure.hint.as_deref());
    }
    error
        .chain()
        .find_map(exit_of_cause)
        .unwrap_or((Exit::Failed, None))
}

fn exit_of_cause<'a>(cause: &(dyn Error + 'static)) -> Option<(Exit, Option<&'a str>)> {
    match cause.downcast_ref() {
        Some(StoreError::Unavailable(_)) => return Some((Exit::Unreachable, None)),
        // It was retried until the deadline.
        Some(StoreError::Contended(_)) => {
            return Some((Exit::TimedOut, Some("end what uses it, or try again later")));
        }
        _ => {}
    }
    if let Some(FolderError::Unsafe { .. }) = cause.downcast_ref() {
        return Some((Exit::Usage, None));
    }
    match cause.downcast_ref() {
        Some(LogError::Unavailable(_)) => Some((Exit::Unreachable, None)),
        Some(LogError::NotFound(_) | LogError::Refused(_)) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_unreachable_and_any_other_error_is_a_plain_failure() {
        let of_log = |error| exit_of(&anyhow::Error::new(error).context("describing topics")).0;
        let unavailable = LogError::Unavailable("no broker answers".into());
        assert_eq!(of_log(unavailable), Exit::Unreachable);
        assert_eq!(of_log(LogError::Refused("denied".into())), Exit::Failed);
        let store = anyhow::Error::new(StoreError::Unavailable("connection refused".into()));
        assert_eq!(exit_of(&store).0, Exit::Unreachable);
        let store = anyhow::Error::new(StoreError::Contended("lock timeout".into()));
        let (exit, hint) = exit_of(&store);
        assert_eq!(exit, Exit::TimedOut);
        assert!(hint.is_some());
        assert_eq!(exit_of(&anyhow::anyhow!("no")).0, Exit::Failed);
    }
}
