//! The first log line of a service: what runs, as which process, and on what.

use std::path::absolute;

use crate::commands::Context;
use crate::config::{LogSettings, StoreSettings};

impl Context {
    /// Logs it; call once the settings are known to be usable, before anything else is logged.
    pub(super) fn log_start(
        &self,
        role: &str,
        log: &LogSettings,
        store: Option<&StoreSettings>,
        group: Option<&str>,
    ) {
        let topics = [&log.topics.orders, &log.topics.lookup, &log.topics.found];
        let env_file = self.settings.env_file().map(|path| {
            let path = absolute(path).unwrap_or_else(|_| path.to_owned());
            path.display().to_string()
        });
        tracing::info!(
            pid = std::process::id(),
            role,
            log = log.describe(),
            store = store.map_or("none".into(), StoreSettings::describe),
            topics = topics.map(String::as_str).join(", "),
            group,
            env_file = env_file.as_deref().unwrap_or("none"),
            "orders {} starts",
            env!("CARGO_PKG_VERSION")
        );
    }
}
