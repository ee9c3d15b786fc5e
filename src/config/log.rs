//! Which log, which topics, which consumer group.

use super::data::DataArgs;
use super::invalid::Invalid;
use super::properties::{self, Property, PropertyList};
use crate::data_folder::DataFolder;
use crate::exit::Failure;

/// Which log, and the names of the topics.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Kafka")]
pub struct LogArgs {
    /// Kafka brokers, separated by commas
    ///
    /// `embedded` keeps the log in files of the data folder, as when neither this nor DB_URL is set.
    #[arg(long, env = "KAFKA_BROKERS", value_name = "HOST:PORT,…", value_parser = brokers)]
    brokers: Option<Brokers>,

    /// Topic of the orders
    #[arg(long, env = "KAFKA_TOPIC", value_name = "NAME")]
    #[arg(default_value = "orders", value_parser = topic)]
    topic: String,

    /// Topic of the lookups
    #[arg(long, env = "KAFKA_LOOKUP_TOPIC", value_name = "NAME")]
    #[arg(default_value = "order-lookup", value_parser = topic, hide_short_help = true)]
    lookup_topic: String,

    /// Topic of the answers to lookups
    #[arg(long, env = "KAFKA_FOUND_TOPIC", value_name = "NAME")]
    #[arg(default_value = "order-found", value_parser = topic, hide_short_help = true)]
    found_topic: String,

    /// Properties of the Kafka client, separated by commas
    ///
    /// A comma inside a value is written `\,`.
    #[arg(long, env = "KAFKA_PROPERTIES", value_name = "KEY=VALUE,…")]
    #[arg(value_parser = properties::list, hide_short_help = true)]
    kafka_properties: Option<PropertyList>,

    /// Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES
    ///
    /// Any property of librdkafka, such as security.protocol=SASL_SSL; those that would break a
    /// promise, load code or turn verification off are refused. Put passwords into KAFKA_PROPERTIES:
    /// arguments are visible to every user of the machine.
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = properties::property)]
    properties: Vec<Property>,
}

/// The values of `security.protocol`; the first is the default.
const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// The value of KAFKA_BROKERS.
#[derive(Clone, Debug)]
enum Brokers {
    Kafka(String),
    Embedded,
}

/// Which log, and the names of the topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub engine: LogEngine,
    pub topics: Topics,
}

/// Which log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEngine {
    Kafka {
        brokers: String,
        properties: Vec<Property>,
    },
    Embedded(DataFolder),
}

impl LogSettings {
    /// The log's name for messages, without secrets.
    pub fn describe(&self) -> String {
        match &self.engine {
            LogEngine::Kafka { brokers, .. } => format!("Kafka at `{brokers}`"),
            LogEngine::Embedded(folder) => {
                format!("the embedded log in `{}`", folder.path().display())
            }
        }
    }
}

/// The names of the three topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    pub orders: String,
    pub lookup: String,
    pub found: String,
}

impl LogArgs {
    /// The log, its topics and the client's properties; the embedded log when neither a log nor a
    /// database is named.
    ///
    /// # Errors
    ///
    /// A database is named and no log: production orders must not be written into a local file
    /// unknowingly.
    pub fn resolve(
        &self,
        data: &DataArgs,
        is_database_named: bool,
    ) -> Result<LogSettings, Failure> {
        let engine = match &self.brokers {
            Some(Brokers::Kafka(brokers)) => {
                let properties = self.all_properties();
                check_protocol(brokers, &properties)?;
                LogEngine::Kafka {
                    brokers: brokers.clone(),
                    properties,
                }
            }
            None if is_database_named => {
                let message = "a database is named and `KAFKA_BROKERS` is not set";
                return Err(Failure::usage(message).hint(
                    "set KAFKA_BROKERS or pass --brokers, such as --brokers 127.0.0.1:9092; \
                     `embedded` keeps the log in files of the data folder",
                ));
            }
            None | Some(Brokers::Embedded) if !self.properties.is_empty() => {
                let message = "`-X` sets a property of the Kafka client, and no brokers are named";
                return Err(Failure::usage(message).hint("set KAFKA_BROKERS or pass --brokers"));
            }
            None | Some(Brokers::Embedded) => LogEngine::Embedded(data.folder()),
        };
        let topics = self.topics()?;
        Ok(LogSettings { engine, topics })
    }

    /// Each property once: a later one replaces an earlier one, `-X` the variable's.
    fn all_properties(&self) -> Vec<Property> {
        let of_variable = self.kafka_properties.iter().flat_map(|list| &list.0);
        let mut all: Vec<Property> = Vec::new();
        let all_given = of_variable.chain(&self.properties);
        for property in all_given.filter(|it| !properties::is_as_used(&it.key, &it.value)) {
            all.retain(|known| known.key != property.key);
            all.push(property.clone());
        }
        all
    }

    fn topics(&self) -> Result<Topics, Failure> {
        let (orders, lookup, found) = (&self.topic, &self.lookup_topic, &self.found_topic);
        if orders == lookup || orders == found || lookup == found {
            return Err(Failure::usage(format!(
                "`KAFKA_TOPIC` `{orders}`, `KAFKA_LOOKUP_TOPIC` `{lookup}` and \
                 `KAFKA_FOUND_TOPIC` `{found}` must be three different topics"
            )));
        }
        Ok(Topics {
            orders: orders.clone(),
            lookup: lookup.clone(),
            found: found.clone(),
        })
    }

    pub(super) fn is_named(&self) -> bool {
        self.brokers.is_some()
    }
}

/// The consumer groups.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Kafka")]
pub struct GroupArgs {
    /// Consumer group
    #[arg(long, env = "KAFKA_GROUP", value_name = "NAME")]
    #[arg(default_value = "order-service-group", value_parser = group)]
    pub group: String,

    /// Consumer group of the lookups, one for each set of topics
    #[arg(long, env = "KAFKA_LOOKUP_GROUP", value_name = "NAME")]
    #[arg(default_value = "order-lookup-group", value_parser = group, hide_short_help = true)]
    pub lookup_group: String,
}

fn brokers(text: &str) -> Result<Brokers, Invalid> {
    if text == "embedded" {
        return Ok(Brokers::Embedded);
    }
    let brokers: Vec<&str> = text.split(',').map(str::trim).collect();
    match brokers.iter().all(|broker| is_broker(broker)) {
        true => Ok(Brokers::Kafka(brokers.join(","))),
        false => Err(Invalid::expected(
            text,
            "HOST:PORT, several separated by commas",
        )),
    }
}

/// `host`, `host:port`, `[v6]:port`, each with an optional `PROTOCOL://` of Kafka in front.
fn is_broker(broker: &str) -> bool {
    let (protocol, address) = broker.split_once("://").unwrap_or((PROTOCOLS[0], broker));
    if !PROTOCOLS.iter().any(|it| it.eq_ignore_ascii_case(protocol)) {
        return false;
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    let is_host =
        |character: char| character.is_ascii_alphanumeric() || ".-_:[]".contains(character);
    is_port && !host.is_empty() && host.chars().all(is_host)
}

/// The client ignores a broker whose protocol is another than its own, and would wait for ever.
fn check_protocol(brokers: &str, properties: &[Property]) -> Result<(), Failure> {
    let property = properties.iter().find(|it| it.key == "security.protocol");
    let used = property.map_or(PROTOCOLS[0], |it| &it.value);
    let named = brokers
        .split(',')
        .filter_map(|broker| broker.split_once("://"));
    let mut others = named.filter(|(protocol, _)| !protocol.eq_ignore_ascii_case(used));
    let Some((protocol, _)) = others.next() else {
        return Ok(());
    };
    let message = format!(
        "`KAFKA_BROKERS` names the protocol `{protocol}`, and security.protocol is another"
    );
    let hint =
        format!("add security.protocol={protocol} to KAFKA_PROPERTIES, or leave the protocol out");
    Err(Failure::usage(message).hint(hint))
}

/// Kafka's own rule for topic names.
fn topic(name: &str) -> Result<String, Invalid> {
    let is_legal = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    let is_topic = name.len() <= 249 && name != "." && name != ".." && name.chars().all(is_legal);
    match is_topic {
        true => Ok(name.to_owned()),
        false => Err(Invalid::expected(name, "a topic name")),
    }
}

fn group(name: &str) -> Result<String, Invalid> {
    match name.len() <= 255 && !name.chars().any(char::is_control) {
        true => Ok(name.to_owned()),
        false => Err(Invalid::expected(name, "a name without control characters")),
    }
}
