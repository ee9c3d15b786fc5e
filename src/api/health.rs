//! Readiness and liveness of the API.
//!
//! The API is unready only without its log. A cache that is not warm and a database that is away are
//! reported, but do not make it unready.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::App;
use super::follower_progress::FollowerProgress;
use crate::admin::{Check, Health};

/// The runtime is stuck when its heartbeat, once a second, is this late.
const STUCK_AFTER: Duration = Duration::from_secs(15);

/// A check whose result a thread reports.
pub struct CheckState(Mutex<(bool, String)>);

impl CheckState {
    pub fn new(ok: bool, sentence: &str) -> CheckState {
        CheckState(Mutex::new((ok, sentence.into())))
    }

    pub fn set(&self, ok: bool, sentence: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (ok, sentence.into());
    }

    fn check(&self, name: &str) -> Check {
        let (ok, detail) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Check {
            name: name.into(),
            ok,
            detail,
        }
    }
}

impl Health for App {
    fn live(&self) -> Result<(), String> {
        let late = self.heartbeat.elapsed();
        if late < STUCK_AFTER {
            return Ok(());
        }
        Err(format!(
            "the runtime has not run a task for {} s",
            late.as_secs()
        ))
    }

    fn ready(&self) -> Vec<Check> {
        let mut checks = vec![
            followed(&self.read_model.orders, true),
            followed(&self.read_model.replies, false),
            self.producer.check("producer"),
            self.listener.check("listener"),
            self.warm_up.check("warm-up"),
        ];
        // The log still works, but not for ever: unready now is better than a full disk later.
        checks.extend(self.log.warning().map(|detail| Check {
            name: "log".into(),
            ok: false,
            detail,
        }));
        checks
    }

    fn metrics(&self) -> String {
        self.metrics.text(&self.read_model, &self.connections)
    }
}

/// Whether a topic can be followed. A lag is reported and does not make the API unready.
fn followed(progress: &FollowerProgress, identity_matters: bool) -> Check {
    let name = format!("log `{}`", progress.topic);
    if let Some(failure) = progress.failure() {
        return Check {
            name,
            ok: false,
            detail: failure,
        };
    }
    let mut detail = match progress.is_live(Instant::now()) {
        true => String::from("followed to its end"),
        false => format!("{} records behind", progress.lag()),
    };
    if identity_matters && !progress.topic_id().is_known() {
        let written = write!(
            detail,
            "; the broker has no topic ids, so a recreated topic is not detected"
        );
        written.expect("writing to a string does not fail");
    }
    Check {
        name,
        ok: true,
        detail,
    }
}
