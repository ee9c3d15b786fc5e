//! Makes every API look repaired orders up again.

use std::sync::Arc;

use crate::commands::{Context, open};
use crate::config::LogSettings;
use crate::event_log::EventLog;
use crate::event_log::sqlite::Reach;
use crate::operations::forget::forget;

/// Writes a *forget* record for each stored order. When the log does not take one, no other is tried:
/// the orders are stored all the same, and what APIs have cached of them expires.
pub(super) struct Forgetting {
    log: Arc<dyn EventLog>,
    found_topic: String,
    /// Why the log did not take a record.
    failure: Option<String>,
    not_forgotten: u64,
}

impl Forgetting {
    /// Connects in the background.
    pub(super) fn open(settings: &LogSettings) -> anyhow::Result<Forgetting> {
        Ok(Forgetting {
            log: open::log(settings, Reach::OtherProcesses, None)?,
            found_topic: settings.topics.found.clone(),
            failure: None,
            not_forgotten: 0,
        })
    }

    /// Blocks until the log has the record, a few seconds at most.
    pub(super) fn forget(&mut self, order_uid: &str) {
        if self.failure.is_none() {
            let forgotten = forget(&*self.log, &self.found_topic, order_uid);
            self.failure = forgotten.err().map(|error| error.to_string());
        }
        if self.failure.is_some() {
            self.not_forgotten += 1;
        }
    }

    /// Warns of orders of which APIs may still answer what they have cached.
    pub(super) fn report(&self, context: &Context) {
        if let Some(failure) = &self.failure {
            context.output.warn(&format!(
                "{} order(s) are stored, and APIs may answer what they have cached of them until that \
                 expires (CACHE_TTL_SECONDS): {failure}",
                self.not_forgotten
            ));
        }
    }
}
