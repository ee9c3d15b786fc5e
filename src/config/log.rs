//! Which log, which topics, which consumer group.

use std::fmt;

use super::data::DataArgs;
use super::environment::{ConfigError, Environment, Setting};
use super::properties;
use super::store::StoreArgs;
use crate::data_folder::DataFolder;

/// The value of KAFKA_BROKERS that asks for the embedded log beside a database that is named.
const EMBEDDED: &str = "embedded";

/// Which log, and the names of the topics.
#[derive(clap::Args, Clone, Default)]
pub struct LogArgs {
    /// Kafka brokers, separated by commas [env: KAFKA_BROKERS]
    ///
    /// `embedded` keeps the log in files of the data folder, as when neither this nor DB_URL is set.
    #[arg(long, value_name = "HOST:PORT,…", help_heading = "Kafka")]
    pub brokers: Option<String>,

    /// Topic of the orders [env: KAFKA_TOPIC] [default: orders]
    ///
    /// The topics of the lookups are set by KAFKA_LOOKUP_TOPIC [default: order-lookup] and
    /// KAFKA_FOUND_TOPIC [default: order-found].
    #[arg(long, value_name = "NAME", help_heading = "Kafka")]
    pub topic: Option<String>,

    /// Property of the Kafka client, repeatable [env: KAFKA_PROPERTIES, separated by commas]
    ///
    /// Any property of librdkafka, such as security.protocol=SASL_SSL; those that would break a
    /// promise, load code or turn verification off are refused. Put passwords into KAFKA_PROPERTIES:
    /// arguments are visible to every user of the machine.
    #[arg(short = 'X', value_name = "KEY=VALUE", help_heading = "Kafka")]
    pub properties: Vec<String>,
}

/// Which log, and the names of the topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub engine: LogEngine,
    pub topics: Topics,
}

/// Which log.
#[derive(Clone, PartialEq, Eq)]
pub enum LogEngine {
    Kafka {
        brokers: String,
        /// Properties for the client; values may be secrets.
        properties: Vec<(String, String)>,
    },
    Embedded(DataFolder),
}

impl LogSettings {
    /// The log in words, without any secret.
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

/// Leaves the values of properties out.
impl fmt::Debug for LogEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (brokers, properties) = match self {
            LogEngine::Kafka {
                brokers,
                properties,
            } => (brokers, properties),
            LogEngine::Embedded(folder) => {
                return formatter.debug_tuple("Embedded").field(folder).finish();
            }
        };
        let keys: Vec<&str> = properties.iter().map(|(key, _)| key.as_str()).collect();
        formatter
            .debug_struct("Kafka")
            .field("brokers", brokers)
            .field("properties", &keys)
            .finish()
    }
}

/// Leaves the values of properties out.
impl fmt::Debug for LogArgs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LogArgs")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("properties", &self.properties.len())
            .finish()
    }
}

impl LogArgs {
    /// Settles which log, its topics and the client's properties. Neither a log nor a database named
    /// is the embedded log; a database alone is an error, lest production orders be written into a
    /// local file unknowingly.
    pub fn settle(
        &self,
        environment: &Environment,
        store: &StoreArgs,
        data: &DataArgs,
    ) -> Result<LogSettings, ConfigError> {
        Ok(LogSettings {
            engine: self.settle_engine(environment, store, data)?,
            topics: self.settle_topics(environment)?,
        })
    }

    fn settle_engine(
        &self,
        environment: &Environment,
        store: &StoreArgs,
        data: &DataArgs,
    ) -> Result<LogEngine, ConfigError> {
        let Some(brokers) = self.named(environment)? else {
            if store.named(environment)?.is_some() {
                return Err(ConfigError::new(
                    "a database is named and `KAFKA_BROKERS` is not set",
                )
                .with_hint(
                    "set KAFKA_BROKERS or pass --brokers, such as --brokers 127.0.0.1:9092; \
                     `embedded` keeps the log in files of the data folder",
                ));
            }
            return self.embedded(environment, data);
        };
        if brokers.value == EMBEDDED {
            return self.embedded(environment, data);
        }
        let brokers = checked_brokers(&brokers)?;
        let mut properties = Vec::new();
        if let Some(list) = environment.variable("KAFKA_PROPERTIES")? {
            let entries = properties::split(list.value);
            properties::read(
                &list.name,
                entries.iter().map(String::as_str),
                &mut properties,
            )?;
        }
        let flags = self.properties.iter().map(String::as_str);
        properties::read("`-X`", flags, &mut properties)?;
        Ok(LogEngine::Kafka {
            brokers,
            properties,
        })
    }

    fn embedded(
        &self,
        environment: &Environment,
        data: &DataArgs,
    ) -> Result<LogEngine, ConfigError> {
        if !self.properties.is_empty() {
            let message = "`-X` sets a property of the Kafka client, and no brokers are named";
            return Err(ConfigError::new(message).with_hint("set KAFKA_BROKERS or pass --brokers"));
        }
        Ok(LogEngine::Embedded(data.settle(environment)?))
    }

    /// The brokers, where some are named.
    pub(super) fn named<'a>(
        &'a self,
        environment: &'a Environment,
    ) -> Result<Option<Setting<'a>>, ConfigError> {
        environment.setting(("--brokers", self.brokers.as_deref()), "KAFKA_BROKERS")
    }

    fn settle_topics(&self, environment: &Environment) -> Result<Topics, ConfigError> {
        let topic = |flag, variable, default: &str| match environment.setting(flag, variable)? {
            Some(setting) => checked_name(&setting, is_topic, "a topic name"),
            None => Ok(default.to_owned()),
        };
        let topics = Topics {
            orders: topic(("--topic", self.topic.as_deref()), "KAFKA_TOPIC", "orders")?,
            lookup: topic(("", None), "KAFKA_LOOKUP_TOPIC", "order-lookup")?,
            found: topic(("", None), "KAFKA_FOUND_TOPIC", "order-found")?,
        };
        let Topics {
            orders,
            lookup,
            found,
        } = &topics;
        if orders == lookup || orders == found || lookup == found {
            return Err(ConfigError::new(format!(
                "`KAFKA_TOPIC` `{orders}`, `KAFKA_LOOKUP_TOPIC` `{lookup}` and \
                 `KAFKA_FOUND_TOPIC` `{found}` must be three different topics"
            )));
        }
        Ok(topics)
    }
}

/// The consumer group.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct GroupArgs {
    /// Consumer group [env: KAFKA_GROUP] [default: order-service-group]
    ///
    /// The group of the lookups is set by KAFKA_LOOKUP_GROUP [default: order-lookup-group].
    #[arg(long, value_name = "NAME", help_heading = "Kafka")]
    pub group: Option<String>,
}

impl GroupArgs {
    /// Settles the group's name.
    pub fn settle(&self, environment: &Environment) -> Result<String, ConfigError> {
        match environment.setting(("--group", self.group.as_deref()), "KAFKA_GROUP")? {
            Some(setting) => checked_name(&setting, is_group, "a name without control characters"),
            None => Ok("order-service-group".to_owned()),
        }
    }

    /// Settles the group that answers lookups: KAFKA_LOOKUP_GROUP, one for each set of topics.
    pub fn settle_lookup(&self, environment: &Environment) -> Result<String, ConfigError> {
        match environment.variable("KAFKA_LOOKUP_GROUP")? {
            Some(setting) => checked_name(&setting, is_group, "a name without control characters"),
            None => Ok("order-lookup-group".to_owned()),
        }
    }
}

fn checked_brokers(setting: &Setting<'_>) -> Result<String, ConfigError> {
    let brokers: Vec<&str> = setting.value.split(',').map(str::trim).collect();
    if brokers.iter().all(|broker| is_broker(broker)) {
        Ok(brokers.join(","))
    } else {
        Err(setting.refuse("HOST:PORT, several separated by commas"))
    }
}

/// `host`, `host:port`, `[v6]:port`, each with an optional `PROTOCOL://` in front.
fn is_broker(broker: &str) -> bool {
    let address = broker
        .split_once("://")
        .map_or(broker, |(_, address)| address);
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    let is_host =
        |character: char| character.is_ascii_alphanumeric() || ".-_:[]".contains(character);
    is_port && !host.is_empty() && host.chars().all(is_host)
}

fn checked_name(
    setting: &Setting<'_>,
    is_valid: fn(&str) -> bool,
    expected: &str,
) -> Result<String, ConfigError> {
    if is_valid(setting.value) {
        Ok(setting.value.to_owned())
    } else {
        Err(setting.refuse(expected))
    }
}

/// Kafka's own rule for topic names.
fn is_topic(name: &str) -> bool {
    let is_legal = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    name.len() <= 249 && name != "." && name != ".." && name.chars().all(is_legal)
}

fn is_group(name: &str) -> bool {
    name.len() <= 255 && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(pairs: &[(&str, &str)]) -> Result<LogSettings, String> {
        let environment = Environment::from_pairs(pairs.iter().copied());
        LogArgs::default()
            .settle(&environment, &StoreArgs::default(), &DataArgs::default())
            .map_err(|error| error.to_string())
    }

    fn kafka(settings: &LogSettings) -> (&str, &[(String, String)]) {
        match &settings.engine {
            LogEngine::Kafka {
                brokers,
                properties,
            } => (brokers, properties),
            LogEngine::Embedded(_) => panic!("not Kafka: {settings:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_go_orders() {
        let settings = settle(&[("KAFKA_BROKERS", "localhost:9092, b:1")]).unwrap();
        assert_eq!(kafka(&settings).0, "localhost:9092,b:1");
        let Topics {
            orders,
            lookup,
            found,
        } = settings.topics;
        assert_eq!(
            [orders, lookup, found],
            ["orders", "order-lookup", "order-found"]
        );
        let group = GroupArgs::default()
            .settle(&Environment::default())
            .unwrap();
        assert_eq!(group, "order-service-group");
    }

    #[test]
    fn brokers_that_are_malformed_are_named() {
        for bad in ["a:b", "a:70000", ",a", "a:9092,", "a b", ":9092", "a:0"] {
            let error = settle(&[("KAFKA_BROKERS", bad)]).unwrap_err();
            assert!(error.starts_with("`KAFKA_BROKERS` is `"), "{error}");
        }
        for good in ["kafka", "kafka:9092", "[::1]:9092", "SASL_SSL://kafka:9093"] {
            assert!(settle(&[("KAFKA_BROKERS", good)]).is_ok(), "{good}");
        }
    }

    #[test]
    fn nothing_named_is_the_embedded_log_and_a_database_alone_is_an_error() {
        let in_folder = |folder| Ok(LogEngine::Embedded(DataFolder::new(folder)));
        let engine = |pairs: &[(&str, &str)]| settle(pairs).map(|settings| settings.engine);
        assert_eq!(engine(&[]), in_folder("./orders-data"));
        assert_eq!(engine(&[("ORDERS_DATA_DIR", "/d")]), in_folder("/d"));
        for url in ["postgresql://db/orders", "sqlite:orders.db"] {
            let error = engine(&[("DB_URL", url)]).unwrap_err();
            let expected = "a database is named and `KAFKA_BROKERS` is not set";
            assert_eq!(error, expected);
            let mixed = [("DB_URL", url), ("KAFKA_BROKERS", "embedded")];
            assert_eq!(engine(&mixed), in_folder("./orders-data"));
        }
    }

    #[test]
    fn a_property_of_a_client_that_is_not_used_is_refused() {
        let args = LogArgs {
            properties: vec!["client.id=me".into()],
            ..Default::default()
        };
        let nothing = (Environment::default(), StoreArgs::default());
        let error = args.settle(&nothing.0, &nothing.1, &DataArgs::default());
        assert!(error.unwrap_err().to_string().starts_with("`-X` sets"));
    }

    #[test]
    fn a_flag_property_replaces_that_of_the_variable_and_no_value_is_printed() {
        let environment = Environment::from_pairs([
            ("KAFKA_BROKERS", "a:1"),
            ("KAFKA_PROPERTIES", "sasl.password=old,client.id=me"),
        ]);
        let args = LogArgs {
            properties: vec!["sasl.password=s3cret".into()],
            ..Default::default()
        };
        let settings = args
            .settle(&environment, &StoreArgs::default(), &DataArgs::default())
            .unwrap();
        let expected = [("client.id", "me"), ("sasl.password", "s3cret")];
        assert_eq!(
            kafka(&settings).1,
            expected.map(|(key, value)| (key.into(), value.into()))
        );
        assert!(!format!("{settings:?} {args:?}").contains("s3cret"));
    }

    #[test]
    fn topics_must_be_legal_and_different() {
        let with = |variable, value| settle(&[("KAFKA_BROKERS", "a"), (variable, value)]);
        let error = with("KAFKA_TOPIC", "a/b").unwrap_err();
        assert_eq!(error, "`KAFKA_TOPIC` is `a/b`, expected a topic name");
        let error = with("KAFKA_FOUND_TOPIC", "orders").unwrap_err();
        assert!(error.contains("must be three different topics"), "{error}");
    }
}
