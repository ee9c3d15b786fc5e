//! What the topics must be like, and how those that are there compare; pure.
//!
//! Owns the settings that the promises rest on (design: "On the wire") and the rule about growing: a
//! topic gets more partitions only while it never held a record, because growing moves keys to other
//! partitions, and the versions of one order must stay in one.

use std::collections::BTreeMap;

use crate::config::{LogEngine, LogSettings};
use crate::event_log::{TopicDescription, TopicSpec};
use crate::exit::{Exit, Failure};

/// Partitions of the orders topic when nobody asks for a number. An embedded log has one writer and
/// one consumer: more would only be more files' ends to write at.
fn usual_partitions(log: &LogEngine) -> i32 {
    match log {
        LogEngine::Kafka { .. } => 4,
        LogEngine::Embedded(_) => 1,
    }
}

/// Thirty days: how far back a lost database can be filled again from the log.
const ORDERS_RETENTION_MS: &str = "2592000000";

/// An hour: nobody waits longer for a lookup.
const LOOKUP_RETENTION_MS: &str = "3600000";

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) partitions: Option<i32>,
    pub(super) replication_factor: Option<i32>,
}

/// The three topics as they must be on a log of that many brokers.
pub(super) fn specs(
    log: &LogSettings,
    asked: &Asked,
    brokers: usize,
) -> Result<[TopicSpec; 3], Failure> {
    let topics = &log.topics;
    let brokers = i32::try_from(brokers).unwrap_or(i32::MAX);
    let replicas = asked.replication_factor.unwrap_or(brokers.clamp(1, 3));
    if replicas > brokers {
        let message = format!(
            "`--replication-factor` is {replicas}, and the cluster has {brokers} broker(s)"
        );
        return Err(Failure::new(Exit::Usage, message).hint("ask for fewer copies, or add brokers"));
    }
    // Said even where it is the default: a cluster-wide 2 with one replica takes no record at all.
    let min_in_sync = if replicas >= 3 { "2" } else { "1" };
    let orders: &[(&str, &str)] = &[
        ("cleanup.policy", "delete"),
        ("min.insync.replicas", min_in_sync),
        ("retention.ms", ORDERS_RETENTION_MS),
        ("unclean.leader.election.enable", "false"),
    ];
    // A segment an hour: what is in the segment being written is not deleted.
    let lookup: &[(&str, &str)] = &[
        ("cleanup.policy", "delete"),
        ("retention.ms", LOOKUP_RETENTION_MS),
        ("segment.ms", LOOKUP_RETENTION_MS),
    ];
    // An embedded log has neither replicas nor segments.
    let is_known = |key: &str| match log.engine {
        LogEngine::Kafka { .. } => true,
        LogEngine::Embedded(_) => key == "retention.ms",
    };
    let spec = |name: &str, partitions, settings: &[(&str, &str)]| TopicSpec {
        name: name.to_owned(),
        partitions,
        replication_factor: replicas,
        settings: settings
            .iter()
            .filter(|(key, _)| is_known(key))
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    };
    Ok([
        spec(
            &topics.orders,
            asked
                .partitions
                .unwrap_or_else(|| usual_partitions(&log.engine)),
            orders,
        ),
        spec(&topics.lookup, 1, lookup),
        spec(&topics.found, 1, lookup),
    ])
}

/// One wanted topic beside what is there.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    wanted: TopicSpec,
    found: Option<Found>,
}

#[derive(Clone, Debug)]
struct Found {
    partitions: i32,
    replicas: i32,
    /// No partition ever held a record.
    is_untouched: bool,
    settings: BTreeMap<String, String>,
}

/// Compares each wanted topic with what was described.
pub(super) fn findings(wanted: &[TopicSpec], described: &[TopicDescription]) -> Vec<Finding> {
    let compare = |spec: &TopicSpec| {
        let topic = described.iter().find(|topic| topic.name == spec.name);
        Finding {
            wanted: spec.clone(),
            found: topic.map(Found::new),
        }
    };
    wanted.iter().map(compare).collect()
}

impl Found {
    fn new(topic: &TopicDescription) -> Found {
        Found {
            partitions: i32::try_from(topic.ranges.len()).unwrap_or(i32::MAX),
            replicas: topic.replication_factor,
            // An offset above 0 was given to an order once, even if it has been deleted since.
            is_untouched: topic
                .ranges
                .iter()
                .all(|range| range.low == range.high && range.high == 0),
            settings: topic.settings.clone(),
        }
    }
}

impl Finding {
    /// What to create, when the topic is not there.
    pub(super) fn to_create(&self) -> Option<&TopicSpec> {
        self.found.is_none().then_some(&self.wanted)
    }

    /// The topic and its new number of partitions, when it may be grown.
    pub(super) fn to_grow(&self) -> Option<(&str, i32)> {
        let found = self.found.as_ref()?;
        let grows = found.partitions < self.wanted.partitions && found.is_untouched;
        grows.then_some((self.wanted.name.as_str(), self.wanted.partitions))
    }

    /// Why the topic cannot be given the partitions asked for; `None` when it has enough, or may be
    /// grown.
    pub(super) fn growth_refused(&self) -> Option<String> {
        let (name, wanted) = (&self.wanted.name, self.wanted.partitions);
        let found = self.found.as_ref()?;
        if found.partitions >= wanted || found.is_untouched {
            return None;
        }
        Some(format!(
            "topic `{name}` has {} partition(s), not {wanted}, and cannot be given more: it has had \
             records, and an order's next version would go to another partition",
            found.partitions
        ))
    }

    /// Everything in which the topic is not as asked, a sentence each.
    pub(super) fn differences(&self) -> Vec<String> {
        let name = &self.wanted.name;
        let Some(found) = &self.found else {
            return vec![format!("topic `{name}` is missing")];
        };
        let mut differences = Vec::new();
        if let Some(refused) = self.growth_refused() {
            differences.push(refused);
        } else if found.partitions != self.wanted.partitions {
            let (has, wanted) = (found.partitions, self.wanted.partitions);
            differences.push(format!(
                "topic `{name}` has {has} partition(s), not {wanted}"
            ));
        }
        if found.replicas != self.wanted.replication_factor {
            let (has, wanted) = (found.replicas, self.wanted.replication_factor);
            differences.push(format!("topic `{name}` has {has} replica(s), not {wanted}"));
        }
        for (key, wanted) in &self.wanted.settings {
            let has = found.settings.get(key).map_or("unknown", String::as_str);
            if has != wanted {
                differences.push(format!("topic `{name}` has {key}={has}, not {wanted}"));
            }
        }
        differences
    }

    /// Whether the topic is there and differs in nothing.
    pub(super) fn is_as_asked(&self) -> bool {
        self.differences().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Topics;
    use crate::data_folder::DataFolder;
    use crate::event_log::OffsetRange;
    use crate::pipeline::TopicId;

    use super::*;

    fn on(engine: LogEngine) -> LogSettings {
        let topics = Topics {
            orders: "orders".into(),
            lookup: "lookup".into(),
            found: "found".into(),
        };
        LogSettings { engine, topics }
    }

    fn kafka() -> LogSettings {
        on(LogEngine::Kafka {
            brokers: "a:1".into(),
            properties: Vec::new(),
        })
    }

    fn orders_spec(brokers: usize) -> TopicSpec {
        let [orders, _, _] = specs(&kafka(), &Asked::default(), brokers).unwrap();
        orders
    }

    fn as_asked(spec: &TopicSpec) -> TopicDescription {
        TopicDescription {
            name: spec.name.clone(),
            topic_id: TopicId::default(),
            replication_factor: spec.replication_factor,
            ranges: vec![OffsetRange { low: 0, high: 0 }; spec.partitions as usize],
            settings: spec.settings.clone(),
        }
    }

    fn finding(spec: &TopicSpec, described: TopicDescription) -> Finding {
        findings(std::slice::from_ref(spec), &[described]).remove(0)
    }

    #[test]
    fn the_orders_topic_has_four_partitions_and_the_lookup_topics_one() {
        let specs = specs(&kafka(), &Asked::default(), 1).unwrap();
        let shapes = specs
            .each_ref()
            .map(|spec| (spec.name.as_str(), spec.partitions));
        assert_eq!(shapes, [("orders", 4), ("lookup", 1), ("found", 1)]);
        assert_eq!(specs[0].settings["retention.ms"], "2592000000");
        assert_eq!(specs[1].settings["retention.ms"], "3600000");
        assert_eq!(specs[0].settings["unclean.leader.election.enable"], "false");
        assert!(
            specs
                .iter()
                .all(|spec| spec.settings["cleanup.policy"] == "delete")
        );
    }

    #[test]
    fn an_embedded_log_has_one_partition_and_only_the_settings_that_mean_something_there() {
        let embedded = on(LogEngine::Embedded(DataFolder::new("d")));
        for spec in specs(&embedded, &Asked::default(), 1).unwrap() {
            assert_eq!((spec.partitions, spec.replication_factor), (1, 1));
            let keys: Vec<&str> = spec.settings.keys().map(String::as_str).collect();
            assert_eq!(keys, ["retention.ms"]);
        }
    }

    #[test]
    fn copies_follow_the_brokers_up_to_three_and_two_must_be_in_sync_from_three_on() {
        let shape = |brokers| {
            let spec = orders_spec(brokers);
            (
                spec.replication_factor,
                spec.settings["min.insync.replicas"].clone(),
            )
        };
        assert_eq!(shape(1), (1, "1".into()));
        assert_eq!(shape(2), (2, "1".into()));
        assert_eq!(shape(3), (3, "2".into()));
        assert_eq!(shape(9), (3, "2".into()));
    }

    #[test]
    fn more_copies_than_brokers_are_refused() {
        let asked = Asked {
            replication_factor: Some(3),
            ..Asked::default()
        };
        let error = specs(&kafka(), &asked, 1).unwrap_err();
        let expected = "`--replication-factor` is 3, and the cluster has 1 broker(s)";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_missing_topic_is_created_and_one_as_asked_is_left_alone() {
        let spec = orders_spec(1);
        let missing = findings(std::slice::from_ref(&spec), &[]).remove(0);
        assert_eq!(
            missing.to_create().map(|spec| spec.name.as_str()),
            Some("orders")
        );
        assert_eq!(missing.differences(), ["topic `orders` is missing"]);
        let fine = finding(&spec, as_asked(&spec));
        assert!(fine.is_as_asked() && fine.to_create().is_none() && fine.to_grow().is_none());
    }

    #[test]
    fn a_topic_without_records_may_grow() {
        let spec = orders_spec(1);
        let mut small = as_asked(&spec);
        small.ranges.truncate(1);
        let finding = finding(&spec, small);
        assert_eq!(finding.to_grow(), Some(("orders", 4)));
        assert_eq!(finding.growth_refused(), None);
        assert_eq!(
            finding.differences(),
            ["topic `orders` has 1 partition(s), not 4"]
        );
    }

    #[test]
    fn a_topic_that_ever_had_a_record_never_grows() {
        let spec = orders_spec(1);
        for range in [
            OffsetRange { low: 0, high: 1 },
            OffsetRange { low: 5, high: 5 },
        ] {
            let mut used = as_asked(&spec);
            used.ranges = vec![range];
            let finding = finding(&spec, used);
            assert_eq!(finding.to_grow(), None);
            let refused = finding.growth_refused().unwrap();
            assert!(
                refused.starts_with("topic `orders` has 1 partition(s), not 4"),
                "{refused}"
            );
            assert_eq!(finding.differences(), [refused]);
        }
    }

    #[test]
    fn every_difference_is_said() {
        let spec = orders_spec(3);
        let mut drifted = as_asked(&spec);
        drifted.ranges.push(OffsetRange { low: 0, high: 0 });
        drifted.replication_factor = 1;
        drifted
            .settings
            .insert("retention.ms".into(), "604800000".into());
        drifted.settings.remove("cleanup.policy");
        assert_eq!(
            finding(&spec, drifted).differences(),
            [
                "topic `orders` has 5 partition(s), not 4",
                "topic `orders` has 1 replica(s), not 3",
                "topic `orders` has cleanup.policy=unknown, not delete",
                "topic `orders` has retention.ms=604800000, not 2592000000",
            ]
        );
    }
}
