//! Opens the engines that the settings name.
//!
//! Nothing here connects, so an error is a wrong setting (exit code 2) or a data folder that another
//! process uses.

use std::fs;
use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;

use crate::commands::{Context, connect};
use crate::config::{LogEngine, LogSettings, Property, StoreSettings};
use crate::data_folder::{Role, RoleLock};
use crate::event_log::kafka::KafkaLog;
use crate::event_log::sqlite::{Reach, SqliteLog};
use crate::event_log::{ConsumerGroups, EventLog, TopicAdmin};
use crate::exit::Failure;
use crate::owner;
use crate::process_name;
use crate::store::postgres::PostgresEngine;
use crate::store::sqlite::SqliteEngine;
use crate::store::{OperatorStore, StoreEngine};

/// The event log, for a command that is no service.
pub fn log(
    settings: &LogSettings,
    reach: Reach,
    runtime: Option<&Handle>,
) -> anyhow::Result<Arc<dyn EventLog>> {
    service_log("command", settings, reach, runtime)
}

/// The event log; it connects in the background, to Kafka as a client of this role. `reach` tells which
/// processes use an embedded log; delivery reports of Kafka are handled on `runtime`, or by threads
/// without one.
pub fn service_log(
    role: &str,
    settings: &LogSettings,
    reach: Reach,
    runtime: Option<&Handle>,
) -> anyhow::Result<Arc<dyn EventLog>> {
    Ok(match &settings.engine {
        LogEngine::Kafka {
            brokers,
            properties,
        } => Arc::new(kafka(role, brokers, properties, runtime)?),
        LogEngine::Embedded(folder) => {
            folder.check_owner()?;
            Arc::new(SqliteLog::open(&folder.log(), reach))
        }
    })
}

/// The administration of the log's topics.
pub fn topic_admin(settings: &LogSettings) -> anyhow::Result<Box<dyn TopicAdmin>> {
    Ok(match &settings.engine {
        LogEngine::Kafka {
            brokers,
            properties,
        } => Box::new(kafka("admin", brokers, properties, None)?),
        LogEngine::Embedded(folder) => {
            folder.check_owner()?;
            Box::new(SqliteLog::open(&folder.log(), Reach::OtherProcesses))
        }
    })
}

/// The consumer groups of Kafka; an embedded log has none.
pub fn consumer_groups(
    brokers: &str,
    properties: &[Property],
) -> anyhow::Result<Box<dyn ConsumerGroups>> {
    Ok(Box::new(kafka("admin", brokers, properties, None)?))
}

fn kafka(
    role: &str,
    brokers: &str,
    properties: &[Property],
    runtime: Option<&Handle>,
) -> anyhow::Result<KafkaLog> {
    let properties = properties.iter().cloned();
    let properties = properties.map(|it| (it.key, it.value));
    // The user's own is set after it.
    let client_id = ("client.id".into(), process_name::client_id(role));
    let properties: Vec<_> = iter::once(client_id).chain(properties).collect();
    let reading = "reading the Kafka settings (`-X`, KAFKA_PROPERTIES)";
    KafkaLog::open(brokers, &properties, runtime).context(Failure::usage(reading))
}

/// The store; each thread connects for itself. The error of a URL repeats no part of it.
pub fn store(settings: &StoreSettings, context: &Context) -> anyhow::Result<Arc<dyn StoreEngine>> {
    let url = match settings {
        StoreSettings::Postgres { url } => url,
        StoreSettings::Sqlite { file } => {
            check_owner(file)?;
            return Ok(Arc::new(SqliteEngine::new(file)));
        }
    };
    let variables = context.settings.postgres_variables()?;
    let engine = PostgresEngine::new(url, &variables).with_context(|| {
        let name = context.settings.name("db_url");
        Failure::usage(format!("{name} cannot be used"))
    })?;
    Ok(Arc::new(engine))
}

/// A connection for an operators' command, to a database whose schema is current. Waits for the
/// database as [`connect::wait`] says.
pub fn operator(
    settings: &StoreSettings,
    wait: Duration,
    context: &Context,
) -> anyhow::Result<Box<dyn OperatorStore>> {
    let engine = store(settings, context)?;
    let mut operator = connect::to_store(&*engine, wait, context, || engine.operator())?;
    let applied = operator
        .applied_migrations()
        .with_context(|| format!("reading the migrations of `{}`", engine.describe()))?;
    connect::check_schema(&applied)?;
    Ok(operator)
}

/// Whoever can write the file can change every order.
fn check_owner(file: &Path) -> anyhow::Result<()> {
    // Opening it tells what else is wrong.
    let Ok(metadata) = fs::metadata(file) else {
        return Ok(());
    };
    owner::check(&metadata).map_err(|reason| {
        let file = file.display();
        Failure::usage(format!(
            "the database file `{file}` cannot be trusted: {reason}"
        ))
        .into()
    })
}

/// Locks a role in the data folder of an embedded log until the lock is dropped; `None` with Kafka,
/// whose consumer groups make a second process safe.
pub fn lock_role(settings: &LogSettings, role: Role) -> anyhow::Result<Option<RoleLock>> {
    match &settings.engine {
        LogEngine::Kafka { .. } => Ok(None),
        LogEngine::Embedded(folder) => Ok(Some(folder.lock(role)?)),
    }
}
