//! The sources of `orders status`: opens them, asks all at once, and hands the answers on.

use std::sync::Arc;

use super::Args;
use crate::admin::ServiceStatus;
use crate::client::{Client, ClientError};
use crate::commands::{Context, create_topics, open, readers};
use crate::config::{Entry, LogEngine, LogSettings, Origin, StoreSettings, control_folder};
use crate::event_log::sqlite::Reach;
use crate::event_log::{LogError, TopicAdmin, TopicDescription};
use crate::migrations;
use crate::operations::control_client::ControlClient;
use crate::operations::deadline::{self, Pending, SOURCE_TIMEOUT};
use crate::operations::files;
use crate::operations::lag;
use crate::operations::services::{self, Service};
use crate::operations::status::api::{self, Probed};
use crate::operations::status::{self, Answer, Database, Files, Log, Part};
use crate::pipeline::time;
use crate::store::StoreError;

/// The sources; none is connected before it is asked.
pub struct Sources {
    log_settings: LogSettings,
    store_settings: StoreSettings,
    lag: lag::Sources,
    admin: Arc<dyn TopicAdmin>,
    readers: readers::Source,
    api_url: String,
    /// Whether it is more than the default.
    is_api_named: bool,
    admin_urls: Vec<String>,
    token: Option<String>,
}

/// The parts, and whether the log or the database has answered.
pub struct Found {
    pub parts: Vec<Part>,
    pub is_reached: bool,
}

/// What the log says of itself, before it is compared with what is declared.
struct Described {
    brokers: usize,
    cluster: Option<String>,
    topics: Vec<TopicDescription>,
    files: Option<Files>,
}

type Asked<T> = Pending<Result<T, String>>;

impl Sources {
    pub fn open(args: &Args, context: &Context) -> anyhow::Result<Sources> {
        let log_settings = args.engines.log()?;
        let store_settings = args.engines.store()?;
        let is_named =
            |entry: &Entry| entry.name == "ORDERS_API_URL" && entry.origin != Origin::Default;
        Ok(Sources {
            lag: lag::Sources {
                log: open::log(&log_settings, Reach::OtherProcesses, None)?,
                store: open::store(&store_settings, context)?,
                topic: log_settings.topics.orders.clone(),
                group: args.group.group.clone(),
            },
            admin: open::topic_admin(&log_settings)?.into(),
            readers: readers::Source::open(&log_settings, &args.group.group)?,
            api_url: args.api.api_url.clone(),
            is_api_named: context.settings.entries().iter().any(is_named),
            admin_urls: args.admin.admin.clone(),
            token: args.api.token(&context.settings)?,
            log_settings,
            store_settings,
        })
    }

    /// Asks every source. Blocks for at most twice [`SOURCE_TIMEOUT`].
    pub fn ask(&self) -> anyhow::Result<Found> {
        let database = self.ask_database();
        let store = self.lag.store.clone();
        let letters = deadline::ask(move || store.operator()?.open_dead_letters());
        let log = self.ask_log();
        let readers = self.readers.ask();
        let services = deadline::ask_within(SOURCE_TIMEOUT * 2, || {
            let found = services::ask(&control_folder(), ControlClient::status);
            found.map_err(|error| format!("{error:#}"))
        });
        let api = self.probe(&self.api_url, "/healthz");
        let admins = self.admin_urls.iter();
        let admins: Vec<_> = admins.map(|url| self.probe(url, "/readyz")).collect();

        let lag = lag::measure(&self.lag).map_err(|error| match error {
            lag::LagError::NoAnswer(no_answer) => no_answer.to_string(),
            lag::LagError::Log(error) => format!("failed: {error}"),
        });
        let database = deadline::flatten(database.wait());
        let log = match deadline::flatten(log.wait()) {
            Ok(described) => Ok(self.compare(described)?),
            Err(why) => Err(why),
        };
        let readers = readers.wait();
        let services = deadline::flatten(services.wait());
        let found: &[Service<ServiceStatus>] = services.as_deref().unwrap_or_default();
        let failing = api::failing_of_consumers(found);

        let name = format!("`{}`", self.lag.store.describe());
        let is_reached = database.is_ok() || log.is_ok();
        let mut parts = vec![
            status::database(&name, &database),
            status::log(&self.log_settings.describe(), &log),
            status::consumer(&self.lag.group, &readers, &lag, &failing),
        ];
        parts.extend(self.apis(&services, api));
        let admins = self.admin_urls.iter().zip(admins);
        parts.extend(admins.map(|(url, asked)| api::of_admin(&probed(url, asked))));
        let letters = deadline::flatten(letters.wait());
        parts.push(status::dead_letters(&letters, &database, time::now_us()));
        parts.push(status::gaps(&lag, &log));
        Ok(Found { parts, is_reached })
    }

    fn ask_database(&self) -> Pending<Result<Database, StoreError>> {
        let store = self.lag.store.clone();
        let file = match &self.store_settings {
            StoreSettings::Sqlite { file } => Some(file.clone()),
            StoreSettings::Postgres { .. } => None,
        };
        deadline::ask(move || {
            let mut operator = store.operator()?;
            let applied = operator.applied_migrations()?;
            Ok(Database {
                version: operator.engine_version()?,
                migrations: applied.len(),
                schema: migrations::state(&applied),
                files: file.as_deref().and_then(files::of_store),
            })
        })
    }

    fn ask_log(&self) -> Pending<Result<Described, LogError>> {
        let (admin, log) = (self.admin.clone(), self.lag.log.clone());
        let topics = self.log_settings.topics.clone();
        let folder = match &self.log_settings.engine {
            LogEngine::Embedded(folder) => Some(folder.log()),
            LogEngine::Kafka { .. } => None,
        };
        deadline::ask(move || {
            let names = [&*topics.orders, &*topics.lookup, &*topics.found];
            let log_id = log.topic(&topics.orders).map(|state| state.log_id);
            let cluster = log_id
                .ok()
                .and_then(|id| Some(id.rsplit_once('/')?.0.to_owned()));
            Ok(Described {
                brokers: admin.brokers()?,
                cluster,
                topics: admin.describe(Some(&names))?,
                files: folder.as_deref().and_then(files::of_log),
            })
        })
    }

    fn compare(&self, described: Described) -> anyhow::Result<Log> {
        let Described {
            brokers,
            cluster,
            topics,
            files,
        } = described;
        let differences = create_topics::differences(&self.log_settings, brokers, &topics)?;
        let cluster = cluster.map(|id| format!(", cluster {id}"));
        let description = match &self.log_settings.engine {
            LogEngine::Kafka { .. } => {
                let end = if brokers == 1 { "" } else { "s" };
                format!("{brokers} broker{end}{}", cluster.unwrap_or_default())
            }
            LogEngine::Embedded(folder) => format!("folder `{}`", folder.path().display()),
        };
        let partitions = topics
            .into_iter()
            .map(|topic| (topic.name, topic.ranges.len()));
        Ok(Log {
            description,
            topics: partitions.collect(),
            differences,
            files,
        })
    }

    fn probe(&self, url: &str, path: &'static str) -> Asked<(u16, String)> {
        let (url, token) = (url.to_owned(), self.token.clone());
        deadline::ask(move || {
            // Beyond the deadline, which says it better.
            let answer = Client::new(url, token).probe(path, SOURCE_TIMEOUT * 2);
            answer.map_err(|error| match error {
                ClientError::Unreachable { reason, .. } => reason,
                other => other.to_string(),
            })
        })
    }

    /// The APIs of this machine, and the one at the URL where it is named or there is no other.
    fn apis(
        &self,
        services: &Answer<Vec<Service<ServiceStatus>>>,
        asked: Asked<(u16, String)>,
    ) -> Vec<Part> {
        let found = services.as_deref().unwrap_or_default();
        let mut parts = api::of_this_machine(services);
        let mut addresses = found
            .iter()
            .filter_map(|it| it.answer.as_ref().ok()?.addresses.api);
        let is_found = addresses.any(|address| self.api_url == format!("http://{address}"));
        if parts.is_empty() || (self.is_api_named && !is_found) {
            parts.push(api::of_url(&probed(&self.api_url, asked)));
        }
        parts
    }
}

fn probed(url: &str, asked: Asked<(u16, String)>) -> Probed {
    Probed {
        url: url.to_owned(),
        answer: deadline::flatten(asked.wait()),
    }
}
