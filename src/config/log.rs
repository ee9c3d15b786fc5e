//! Which log, which topics, which consumer group.

use std::fmt;

use super::environment::{ConfigError, Environment, Setting};
use super::properties;

/// How to reach Kafka, and the names of the topics.
#[derive(clap::Args, Clone, Default)]
pub struct LogArgs {
    /// Kafka brokers, separated by commas [env: KAFKA_BROKERS]
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

/// How to reach Kafka.
#[derive(Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub brokers: String,
    /// Properties for the client; values may be secrets.
    pub properties: Vec<(String, String)>,
    pub topics: Topics,
}

/// The names of the three topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    pub orders: String,
    pub lookup: String,
    pub found: String,
}

/// Leaves the values of properties out.
impl fmt::Debug for LogSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self
            .properties
            .iter()
            .map(|(key, _)| key.as_str())
            .collect();
        formatter
            .debug_struct("LogSettings")
            .field("brokers", &self.brokers)
            .field("properties", &keys)
            .field("topics", &self.topics)
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
    /// Settles brokers, topics and client properties. KAFKA_BROKERS unset is an error naming it.
    pub fn settle(&self, environment: &Environment) -> Result<LogSettings, ConfigError> {
        let brokers =
            environment.setting(("--brokers", self.brokers.as_deref()), "KAFKA_BROKERS")?;
        let Some(brokers) = brokers else {
            return Err(ConfigError::new(
                "`KAFKA_BROKERS` is not set, and this command needs Kafka",
            )
            .with_hint("set KAFKA_BROKERS or pass --brokers, such as --brokers 127.0.0.1:9092"));
        };
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
        Ok(LogSettings {
            brokers: checked_brokers(&brokers)?,
            properties,
            topics: self.settle_topics(environment)?,
        })
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
    if setting.value == "embedded" {
        let message = format!(
            "{} is `embedded`, and this version has no embedded log",
            setting.name
        );
        return Err(ConfigError::new(message).with_hint("name Kafka brokers, as HOST:PORT"));
    }
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
            .settle(&environment)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_go_orders() {
        let settings = settle(&[("KAFKA_BROKERS", "localhost:9092, b:1")]).unwrap();
        assert_eq!(settings.brokers, "localhost:9092,b:1");
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
    fn brokers_that_are_missing_or_malformed_are_named() {
        let missing = "`KAFKA_BROKERS` is not set, and this command needs Kafka";
        assert_eq!(settle(&[]).unwrap_err(), missing);
        assert_eq!(settle(&[("KAFKA_BROKERS", "")]).unwrap_err(), missing);
        for bad in ["a:b", "a:70000", ",a", "a:9092,", "a b", ":9092", "a:0"] {
            let error = settle(&[("KAFKA_BROKERS", bad)]).unwrap_err();
            assert!(error.starts_with("`KAFKA_BROKERS` is `"), "{error}");
        }
        for good in ["kafka", "kafka:9092", "[::1]:9092", "SASL_SSL://kafka:9093"] {
            assert!(settle(&[("KAFKA_BROKERS", good)]).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_embedded_log_is_refused_by_name() {
        let error = settle(&[("KAFKA_BROKERS", "embedded")]).unwrap_err();
        assert!(error.contains("`KAFKA_BROKERS` is `embedded`"), "{error}");
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
        let settings = args.settle(&environment).unwrap();
        let expected = [("client.id", "me"), ("sasl.password", "s3cret")];
        assert_eq!(
            settings.properties,
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
