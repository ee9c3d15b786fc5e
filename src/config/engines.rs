//! Log and store together, for commands that use both.

use super::data::DataArgs;
use super::log::{LogArgs, LogSettings};
use super::store::{StoreArgs, StoreSettings};
use crate::data_folder::DataFolder;
use crate::exit::Failure;

/// Which log and which database. One named and the other forgotten is an error.
#[derive(clap::Args, Clone, Debug)]
pub struct EngineArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    data: DataArgs,
}

impl EngineArgs {
    /// The log; see [`LogArgs::resolve`].
    pub fn log(&self) -> Result<LogSettings, Failure> {
        self.log.resolve(&self.data, self.store.is_named())
    }

    /// The folder of the embedded engines, used or not.
    pub fn data_folder(&self) -> DataFolder {
        self.data.folder()
    }

    /// The database; see [`StoreArgs::resolve`].
    pub fn store(&self) -> Result<StoreSettings, Failure> {
        self.store.resolve(&self.data, self.log.is_named())
    }

    /// The database; `None` when a log is named and no database.
    pub fn optional_store(&self) -> Option<StoreSettings> {
        self.store.resolve_optional(&self.data, self.log.is_named())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GroupArgs;
    use crate::config::log::LogEngine;
    use crate::config::properties::Property;
    use crate::config::settings::tests::{from_variables, resolve};
    use crate::config::variables::Variables;

    type Resolved<T> = Result<T, String>;

    fn log(pairs: &[(&str, &str)]) -> Resolved<LogSettings> {
        let args: EngineArgs = from_variables(pairs)?;
        args.log().map_err(|error| error.to_string())
    }

    fn store(pairs: &[(&str, &str)]) -> Resolved<StoreSettings> {
        let args: EngineArgs = from_variables(pairs)?;
        args.store().map_err(|error| error.to_string())
    }

    fn kafka(settings: &LogSettings) -> (&str, &[Property]) {
        match &settings.engine {
            LogEngine::Kafka {
                brokers,
                properties,
            } => (brokers, properties),
            LogEngine::Embedded(_) => panic!("not Kafka: {settings:?}"),
        }
    }

    fn sqlite(file: &str) -> Resolved<StoreSettings> {
        Ok(StoreSettings::Sqlite { file: file.into() })
    }

    #[test]
    fn defaults_are_those_of_go_orders() {
        let brokers = ("KAFKA_BROKERS", "localhost:9092, b:1");
        let settings = log(&[brokers, ("DB_URL", "sqlite:x")]).unwrap();
        assert_eq!(kafka(&settings).0, "localhost:9092,b:1");
        let topics = settings.topics;
        let names = [topics.orders, topics.lookup, topics.found];
        assert_eq!(names, ["orders", "order-lookup", "order-found"]);
        let groups: GroupArgs = from_variables(&[]).unwrap();
        assert_eq!(groups.group, "order-service-group");
        assert_eq!(groups.lookup_group, "order-lookup-group");
    }

    #[test]
    fn malformed_brokers_are_named() {
        let foreign = [
            "http://127.0.0.1:9092",
            "kafka://a:9092",
            "://a:9092",
            "a,https://b",
        ];
        let malformed = ["a:b", "a:70000", ",a", "a:9092,", "a b", ":9092", "a:0"];
        for bad in malformed.into_iter().chain(foreign) {
            let error = log(&[("KAFKA_BROKERS", bad)]).unwrap_err();
            assert!(error.starts_with("`KAFKA_BROKERS` is `"), "{error}");
        }
        for good in [
            "kafka",
            "kafka:9092",
            "[::1]:9092",
            "plaintext://kafka:9093",
        ] {
            assert!(log(&[("KAFKA_BROKERS", good)]).is_ok(), "{good}");
        }
    }

    #[test]
    fn brokers_that_the_client_would_ignore_are_an_error() {
        let brokers = ("KAFKA_BROKERS", "a:1,SASL_SSL://kafka:9093");
        let error = log(&[brokers]).unwrap_err();
        assert!(
            error.starts_with("`KAFKA_BROKERS` names the protocol `SASL_SSL`"),
            "{error}"
        );
        let properties = ("KAFKA_PROPERTIES", "security.protocol=sasl_ssl");
        assert!(log(&[brokers, properties]).is_ok());
    }

    #[test]
    fn a_property_that_equals_what_is_used_is_accepted_and_changes_nothing() {
        let brokers = ("KAFKA_BROKERS", "a:1");
        for list in [
            "acks=all",
            "acks=-1,enable.idempotence=TRUE",
            "isolation.level=read_committed",
        ] {
            let settings = log(&[brokers, ("KAFKA_PROPERTIES", list)]).unwrap();
            assert_eq!(kafka(&settings).1, [], "{list}");
        }
    }

    #[test]
    fn without_a_log_and_a_database_both_are_embedded() {
        let in_folder = |folder: &str| LogEngine::Embedded(DataFolder::new(folder));
        assert_eq!(log(&[]).unwrap().engine, in_folder("./orders-data"));
        assert_eq!(store(&[]), sqlite("./orders-data/store.db"));
        let elsewhere = [("ORDERS_DATA_DIR", "/d")];
        assert_eq!(log(&elsewhere).unwrap().engine, in_folder("/d"));
        assert_eq!(store(&elsewhere), sqlite("/d/store.db"));
    }

    #[test]
    fn a_database_without_a_log_is_an_error() {
        for url in ["postgresql://db/orders", "sqlite:orders.db"] {
            let error = log(&[("DB_URL", url)]).unwrap_err();
            assert_eq!(error, "a database is named and `KAFKA_BROKERS` is not set");
            let mixed = log(&[("DB_URL", url), ("KAFKA_BROKERS", "embedded")]);
            let expected = LogEngine::Embedded(DataFolder::new("./orders-data"));
            assert_eq!(mixed.unwrap().engine, expected);
        }
    }

    #[test]
    fn a_log_without_a_database_is_an_error_unless_the_database_is_optional() {
        for brokers in ["127.0.0.1:9092", "embedded"] {
            let pairs = [("KAFKA_BROKERS", brokers)];
            let error = store(&pairs).unwrap_err();
            assert_eq!(error, "a log is named and `DB_URL` is not set");
            let args: EngineArgs = from_variables(&pairs).unwrap();
            assert_eq!(args.optional_store(), None);
        }
    }

    #[test]
    fn the_url_of_an_unknown_database_is_not_repeated() {
        let mysql = "mysql://me:s3cret@db/orders";
        for url in [mysql, "postgresql://", "sqlite:", "sqlite://"] {
            let error = store(&[("DB_URL", url)]).unwrap_err();
            assert_eq!(error, "`DB_URL` is not a database URL", "{url}");
        }
    }

    #[test]
    fn both_schemes_of_postgresql_and_files_of_sqlite_are_accepted() {
        let store = |url| store(&[("DB_URL", url)]);
        for url in ["postgres://me:x@db/orders", "postgresql://me:x@db/orders"] {
            assert_eq!(store(url), Ok(StoreSettings::Postgres { url: url.into() }));
        }
        assert_eq!(store("sqlite:a/b.db"), sqlite("a/b.db"));
        assert_eq!(store("sqlite:///a/b.db"), sqlite("/a/b.db"));
    }

    #[test]
    fn a_property_of_an_unused_client_is_refused() {
        let (args, _) =
            resolve::<EngineArgs>(&["-X", "client.id=me"], Variables::default()).unwrap();
        let error = args.log().unwrap_err().to_string();
        assert!(error.starts_with("`-X` sets"), "{error}");
    }

    #[test]
    fn a_flag_property_replaces_that_of_the_variable_and_no_secret_is_printed() {
        let variables = Variables::of_process([
            ("KAFKA_BROKERS", "a:1"),
            ("DB_URL", "postgres://me:s3cret@db/orders"),
            (
                "KAFKA_PROPERTIES",
                "sasl.password=old,client.id=me,client.id=you",
            ),
        ]);
        let (args, _) = resolve::<EngineArgs>(&["-X", "sasl.password=s3cret"], variables).unwrap();
        let settings = args.log().unwrap();
        let properties = kafka(&settings).1.iter();
        let properties: Vec<_> = properties.map(|it| (&*it.key, &*it.value)).collect();
        let expected = [("client.id", "you"), ("sasl.password", "s3cret")];
        assert_eq!(properties, expected);
        let printed = format!("{args:?} {settings:?} {:?}", args.store());
        assert!(!printed.contains("s3cret"), "{printed}");
    }

    #[test]
    fn topics_must_be_legal_and_different() {
        let with = |variable, value| log(&[("KAFKA_BROKERS", "a"), (variable, value)]);
        let error = with("KAFKA_TOPIC", "a/b").unwrap_err();
        assert_eq!(error, "`KAFKA_TOPIC` is `a/b`, expected a topic name");
        let error = with("KAFKA_FOUND_TOPIC", "orders").unwrap_err();
        assert!(error.contains("must be three different topics"), "{error}");
    }
}
