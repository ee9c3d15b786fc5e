//! Configuration: flags > environment > `.env` file > defaults, settled once, before any socket opens.
//!
//! Owns the flag groups that commands flatten into their `Args`, and what each settles to; below
//! `commands` nobody sees flags or environment. [`Environment`] is the only reader of the process's
//! variables. An unknown or malformed value is a [`ConfigError`] that names the flag or variable;
//! a value that may hold a secret is never repeated. The surprising thing: an empty variable counts
//! as unset, so that `KAFKA_BROKERS=` in a compose file means what it looks like.

mod control_folder;
mod data;
mod duration;
mod environment;
mod http;
mod log;
mod properties;
mod redaction;
mod store;

pub use control_folder::control_folder;
pub use data::DataArgs;
pub use duration::duration;
pub use environment::{ConfigError, Environment};
pub use http::{AdminArgs, ApiUrlArgs, CacheArgs, CacheSettings, HttpArgs, HttpSettings};
pub use log::{GroupArgs, LogArgs, LogEngine, LogSettings, Topics};
pub use redaction::{redact, redact_arguments};
pub use store::{StoreArgs, StoreSettings};

#[cfg(test)]
mod tests {
    use super::*;

    /// `.env.example` with its comments taken off the settings in it.
    fn example() -> Environment {
        let text: String = include_str!("../.env.example")
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if setting.starts_with(|first: char| first.is_ascii_uppercase()) => {
                    format!("{setting}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        Environment::from_file_text(&text)
    }

    #[test]
    fn the_example_file_reaches_the_database_of_the_compose_file() {
        let compose = include_str!("../docker-compose.yml");
        for line in [
            "POSTGRES_USER: orders",
            "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:-orders}",
            "POSTGRES_DB: orders",
            r#"- "127.0.0.1:${POSTGRES_PORT:-5432}:5432""#,
            r#"- "127.0.0.1:${KAFKA_PORT:-9092}:9092""#,
        ] {
            assert!(compose.lines().any(|it| it.trim() == line), "{line}");
        }
        let (log, store, data) = Default::default();
        let settled = StoreArgs::settle(&store, &example(), &log, &data).unwrap();
        let url = "postgresql://orders:orders@127.0.0.1:5432/orders".into();
        assert_eq!(settled, StoreSettings::Postgres { url });
        let settled = LogArgs::settle(&log, &example(), &store, &data).unwrap();
        assert_eq!(settled.describe(), "Kafka at `127.0.0.1:9092`");
    }

    #[test]
    fn the_example_file_is_read_and_shows_the_defaults() {
        let (example, nothing) = (example(), Environment::default());
        let http = HttpArgs::default();
        assert_eq!(http.settle(&example), http.settle(&nothing));
        let cache = CacheArgs::default();
        assert_eq!(cache.settle(&example), cache.settle(&nothing));
        let api = ApiUrlArgs::default();
        assert_eq!(api.settle(&example), api.settle(&nothing));
        let group = GroupArgs::default();
        assert_eq!(group.settle(&example), group.settle(&nothing));
        assert_eq!(group.settle_lookup(&example), group.settle_lookup(&nothing));
        let data = DataArgs::default();
        assert_eq!(data.settle(&example), data.settle(&nothing));

        let (log, store) = Default::default();
        assert!(StoreArgs::settle(&store, &example, &log, &data).is_ok());
        let settled = LogArgs::settle(&log, &example, &store, &data).unwrap();
        match settled.engine {
            LogEngine::Kafka { properties, .. } => assert_eq!(properties.len(), 4),
            LogEngine::Embedded(_) => panic!("the example names brokers"),
        }
        let defaults = LogArgs::settle(&log, &nothing, &store, &data).unwrap();
        assert_eq!(settled.topics, defaults.topics);
    }
}
