//! Opening the engines that the settings name: the one place that picks them.
//!
//! Nothing here connects, so an error is always a wrong setting: exit code 2.

use std::sync::Arc;

use anyhow::Context as _;

use crate::config::{LogSettings, StoreSettings};
use crate::event_log::EventLog;
use crate::event_log::kafka::KafkaLog;
use crate::exit::{Exit, Failure};
use crate::store::StoreEngine;
use crate::store::postgres::PostgresEngine;

/// The event log; it connects in the background.
pub fn log(settings: &LogSettings) -> anyhow::Result<Arc<dyn EventLog>> {
    let log = KafkaLog::open(&settings.brokers, &settings.properties).context(Failure::new(
        Exit::Usage,
        "reading the Kafka settings (`-X`, KAFKA_PROPERTIES)",
    ))?;
    Ok(Arc::new(log))
}

/// The store; each thread connects for itself.
pub fn store(settings: &StoreSettings) -> anyhow::Result<Arc<dyn StoreEngine>> {
    let engine = PostgresEngine::new(&settings.url).context(Failure::new(
        Exit::Usage,
        "reading the database URL (DB_URL)",
    ))?;
    Ok(Arc::new(engine))
}
