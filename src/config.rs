//! Configuration: flags > environment > `.env` file > defaults, settled once, before any socket opens.
//!
//! Owns the flag groups that commands flatten into their `Args`, and what each settles to; below
//! `commands` nobody sees flags or environment. [`Environment`] is the only reader of the process's
//! variables. An unknown or malformed value is a [`ConfigError`] that names the flag or variable;
//! a value that may hold a secret is never repeated. The surprising thing: an empty variable counts
//! as unset, so that `KAFKA_BROKERS=` in a compose file means what it looks like.

mod duration;
mod environment;
mod http;
mod log;
mod properties;
mod redaction;
mod store;

pub use duration::duration;
pub use environment::{ConfigError, Environment};
pub use http::{AdminArgs, ApiUrlArgs, CacheArgs, CacheSettings, HttpArgs, HttpSettings};
pub use log::{GroupArgs, LogArgs, LogSettings, Topics};
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
        let store = StoreArgs::default().settle(&example()).unwrap();
        assert_eq!(
            store.url,
            "postgresql://orders:orders@127.0.0.1:5432/orders"
        );
        let log = LogArgs::default().settle(&example()).unwrap();
        assert_eq!(log.brokers, "127.0.0.1:9092");
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
        assert!(StoreArgs::default().settle(&example).is_ok());

        let log = LogArgs::default().settle(&example).unwrap();
        assert_eq!(log.properties.len(), 4);
        let brokers_only = Environment::from_pairs([("KAFKA_BROKERS", "127.0.0.1:9092")]);
        let topics = LogArgs::default().settle(&brokers_only).unwrap().topics;
        assert_eq!(log.topics, topics);
    }
}
