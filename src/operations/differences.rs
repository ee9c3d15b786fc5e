//! Settings in which services of one log or one database differ.
//!
//! Such services are meant to work together: a consumer that reads another topic than the API writes to
//! stores nothing, and no part of the system reports it.

use std::path::Path;

use crate::config::Entry;

/// The settings that services of one log or one database must agree on.
const SHARED: [&str; 8] = [
    "KAFKA_BROKERS",
    "DB_URL",
    "ORDERS_DATA_DIR",
    "KAFKA_TOPIC",
    "KAFKA_LOOKUP_TOPIC",
    "KAFKA_FOUND_TOPIC",
    "KAFKA_GROUP",
    "KAFKA_LOOKUP_GROUP",
];

/// A running service and its settings.
#[derive(Clone, Copy, Debug)]
pub struct Configured<'a> {
    /// Such as `api (pid 7)`.
    pub name: &'a str,
    /// The folder that relative paths begin in.
    pub folder: &'a Path,
    pub settings: &'a [Entry],
}

/// A setting in which services differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<'a> {
    pub setting: &'static str,
    /// The services that another one contradicts, each with its value.
    pub values: Vec<(&'a str, String)>,
}

/// The differences between services that have a log or a database in common.
pub fn differences<'a>(services: &[Configured<'a>]) -> Vec<Difference<'a>> {
    let mut found = Vec::new();
    for setting in SHARED {
        let contradicted = services.iter().filter(|one| {
            let mut others = services.iter().filter(|other| one.is_related(other));
            others.any(|other| one.contradicts(other, setting))
        });
        let values: Vec<_> = contradicted
            .filter_map(|service| Some((service.name, service.resolved(setting)?)))
            .collect();
        if !values.is_empty() {
            found.push(Difference { setting, values });
        }
    }
    found
}

impl Configured<'_> {
    fn value(&self, setting: &str) -> Option<&str> {
        let entry = self.settings.iter().find(|entry| entry.name == setting);
        entry?.value.as_deref()
    }

    /// The brokers; none when the log is embedded.
    fn brokers(&self) -> Vec<&str> {
        let named = self.value("KAFKA_BROKERS").unwrap_or_default();
        let brokers = named.split(',').map(str::trim);
        brokers
            .filter(|it| !it.is_empty() && *it != "embedded")
            .collect()
    }

    /// The value of a setting that has an effect, in a form that can be compared; paths are absolute.
    fn resolved(&self, setting: &str) -> Option<String> {
        let is_embedded = self.brokers().is_empty();
        let absolute = |path: &str| {
            self.folder
                .join(path)
                .components()
                .collect::<std::path::PathBuf>()
        };
        match setting {
            "KAFKA_BROKERS" if is_embedded => Some("embedded".into()),
            "KAFKA_BROKERS" => {
                let mut brokers = self.brokers();
                brokers.sort_unstable();
                Some(brokers.join(","))
            }
            "ORDERS_DATA_DIR" if !is_embedded => None,
            "ORDERS_DATA_DIR" => {
                let path = absolute(self.value(setting)?);
                Some(path.display().to_string())
            }
            "DB_URL" => match self.value(setting) {
                Some(url) => Some(match url.strip_prefix("sqlite:") {
                    Some(file) => {
                        let file = file.strip_prefix("//").unwrap_or(file);
                        format!("sqlite:{}", absolute(file).display())
                    }
                    None => url.to_owned(),
                }),
                None if is_embedded => {
                    let folder = absolute(self.value("ORDERS_DATA_DIR")?);
                    Some(format!("sqlite:{}", folder.join("store.db").display()))
                }
                None => None,
            },
            _ => self.value(setting).map(str::to_owned),
        }
    }

    /// Whether the two have a log or a database in common.
    fn is_related(&self, other: &Configured<'_>) -> bool {
        let is_same = |setting: &str| {
            let value = self.resolved(setting);
            value.is_some() && value == other.resolved(setting)
        };
        self.shares_broker(other) || is_same("ORDERS_DATA_DIR") || is_same("DB_URL")
    }

    /// Whether the two use one cluster, each of them naming some of its brokers.
    fn shares_broker(&self, other: &Configured<'_>) -> bool {
        let brokers = other.brokers();
        self.brokers().iter().any(|broker| brokers.contains(broker))
    }

    /// Whether both have the setting, with different values.
    fn contradicts(&self, other: &Configured<'_>, setting: &str) -> bool {
        match (self.resolved(setting), other.resolved(setting)) {
            (Some(one), Some(another)) if one != another => {
                setting != "KAFKA_BROKERS" || !self.shares_broker(other)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn entries(pairs: &[(&str, &str)]) -> Vec<Entry> {
        let entry = |(name, value): &(&str, &str)| Entry {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            origin: Origin::Environment,
        };
        pairs.iter().map(entry).collect()
    }

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    /// The differences of services with these folders and settings, as `SETTING: name=value …`.
    fn found(services: &[(&str, &str, Pairs<'_>)]) -> Vec<String> {
        let settings: Vec<_> = services.iter().map(|(_, _, it)| entries(it)).collect();
        let configured: Vec<_> = services
            .iter()
            .zip(&settings)
            .map(|((name, folder, _), settings)| Configured {
                name,
                folder: Path::new(folder),
                settings,
            })
            .collect();
        let line = |difference: Difference<'_>| {
            let values = difference.values.iter();
            let values: String = values
                .map(|(name, value)| format!(" {name}={value}"))
                .collect();
            format!("{}:{values}", difference.setting)
        };
        differences(&configured).into_iter().map(line).collect()
    }

    const BROKERS: (&str, &str) = ("KAFKA_BROKERS", "k1:9092, k2:9092");

    #[test]
    fn services_of_one_cluster_that_use_different_topics_or_databases_are_named() {
        let lines = found(&[
            (
                "a",
                "/",
                &[BROKERS, ("KAFKA_TOPIC", "orders"), ("DB_URL", "x")],
            ),
            (
                "b",
                "/",
                &[("KAFKA_BROKERS", "k2:9092"), ("KAFKA_TOPIC", "o2")],
            ),
            ("c", "/", &[("KAFKA_BROKERS", "k1:9092"), ("DB_URL", "y")]),
            (
                "d",
                "/",
                &[("KAFKA_BROKERS", "k3:9092"), ("KAFKA_TOPIC", "o3")],
            ),
        ]);
        assert_eq!(lines, ["DB_URL: a=x c=y", "KAFKA_TOPIC: a=orders b=o2"]);
    }

    #[test]
    fn services_of_one_database_that_use_different_logs_are_named() {
        let url = ("DB_URL", "postgresql://db/orders");
        let lines = found(&[
            ("a", "/", &[BROKERS, url]),
            ("b", "/", &[("KAFKA_BROKERS", "embedded"), url]),
        ]);
        let brokers = "KAFKA_BROKERS: a=k1:9092,k2:9092 b=embedded";
        assert_eq!(lines, [brokers]);
    }

    #[test]
    fn relative_folders_are_those_of_each_service() {
        let data = |folder| [("ORDERS_DATA_DIR", folder), ("KAFKA_TOPIC", "t")];
        let other = [("ORDERS_DATA_DIR", "/srv/a/data"), ("KAFKA_TOPIC", "u")];
        let (one, two) = (data("./data"), data("data"));
        let lines = found(&[
            ("a", "/srv/a", &one),
            ("b", "/srv/a", &other),
            ("c", "/srv/c", &two),
        ]);
        assert_eq!(lines, ["KAFKA_TOPIC: a=t b=u"]);
        let url = [("DB_URL", "sqlite:/srv/a/data/store.db"), BROKERS];
        let lines = found(&[("a", "/srv/a", &one), ("b", "/", &url)]);
        assert_eq!(lines, ["KAFKA_BROKERS: a=embedded b=k1:9092,k2:9092"]);
    }

    #[test]
    fn services_that_have_nothing_in_common_may_differ() {
        let lines = found(&[
            ("a", "/", &[BROKERS, ("KAFKA_TOPIC", "t")]),
            ("b", "/", &[("KAFKA_BROKERS", "k3:1"), ("KAFKA_TOPIC", "u")]),
            ("c", "/", &[("ORDERS_DATA_DIR", "/c"), ("KAFKA_TOPIC", "v")]),
            ("d", "/", &[("ORDERS_DATA_DIR", "/d"), ("KAFKA_TOPIC", "w")]),
        ]);
        assert_eq!(lines, Vec::<String>::new());
        // An API that warms up from no database.
        let agreeing = found(&[
            ("a", "/", &[BROKERS]),
            ("b", "/", &[BROKERS, ("DB_URL", "x")]),
        ]);
        assert_eq!(agreeing, Vec::<String>::new());
    }
}
