//! Configuration: flags, environment, `.env` file and defaults, resolved once before a socket opens.
//!
//! Owns the argument groups that commands flatten into their `Args`, what they resolve to, and where
//! each value comes from. Code below `commands` sees neither flags nor the environment.
//!
//! # Invariants
//!
//! - A malformed value is an error that names its flag or variable; an unknown variable is ignored.
//! - A value that may hold a secret is never repeated.

mod access;
mod control_folder;
mod data;
mod duration;
mod engines;
mod env_file;
mod http;
mod invalid;
mod log;
mod properties;
mod redaction;
mod settings;
mod store;
mod temporary_folder;
mod time;
mod variables;

pub use access::{AccessArgs, client_token};
pub use control_folder::control_folder;
pub use data::DataArgs;
pub use duration::duration;
pub use engines::EngineArgs;
pub use http::{AdminArgs, AdminUrlArgs, ApiUrlArgs, CacheArgs, HttpArgs};
pub use log::{GroupArgs, LogArgs, LogEngine, LogSettings, Topics};
pub use properties::Property;
pub use redaction::{redact, redact_arguments};
pub use settings::{Entry, Settings, command_line, other_defaults};
pub use store::{StoreArgs, StoreSettings};
pub use temporary_folder::temporary_folder;
pub use time::time;
pub use variables::{Origin, Variables, editor, proxy};

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Args;

    use super::settings::tests::{command, from_variables, resolve};
    use super::*;

    /// `T` as `.env.example` sets it, with its commented settings included.
    fn example<T: Args>() -> T {
        let text: String = include_str!("../.env.example")
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if setting.starts_with(|first: char| first.is_ascii_uppercase()) => {
                    format!("{setting}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        fs::write(&path, text).unwrap();
        let variables = Variables::of_file(&path, &command::<T>());
        resolve(&[], variables).unwrap().0
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
        let engines: EngineArgs = example();
        let url = "postgresql://orders:orders@127.0.0.1:5432/orders".into();
        assert_eq!(engines.store().unwrap(), StoreSettings::Postgres { url });
        let log = engines.log().unwrap();
        assert_eq!(log.describe(), "Kafka at `127.0.0.1:9092`");
    }

    #[test]
    fn the_example_file_is_read_and_shows_the_defaults() {
        assert_eq!(example::<HttpArgs>(), from_variables(&[]).unwrap());
        assert_eq!(example::<CacheArgs>(), from_variables(&[]).unwrap());
        assert_eq!(example::<ApiUrlArgs>(), from_variables(&[]).unwrap());
        assert_eq!(example::<GroupArgs>(), from_variables(&[]).unwrap());
        let default: DataArgs = from_variables(&[]).unwrap();
        assert_eq!(example::<DataArgs>().folder(), default.folder());

        let log = example::<EngineArgs>().log().unwrap();
        match log.engine {
            LogEngine::Kafka { properties, .. } => assert_eq!(properties.len(), 4),
            LogEngine::Embedded(_) => panic!("the example names brokers"),
        }
        let default: EngineArgs = from_variables(&[]).unwrap();
        assert_eq!(log.topics, default.log().unwrap().topics);
    }
}
