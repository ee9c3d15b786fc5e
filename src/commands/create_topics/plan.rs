//! The topics as they must be, and how existing ones differ; pure.
//!
//! Owns the settings that the guarantees depend on (design: "On the wire").
//!
//! # Invariants
//!
//! A topic gets more partitions only if it never held a record: more partitions move keys to others,
//! and all versions of an order must stay in one.

use super::Requested;
use crate::config::{LogEngine, LogSettings};
use crate::event_log::{TopicDescription, TopicSpec};
use crate::exit::Failure;

/// Thirty days: how much of a lost database can be restored from the log.
const ORDERS_RETENTION_MS: &str = "2592000000";

/// An hour: no client waits longer for a lookup.
const LOOKUP_RETENTION_MS: &str = "3600000";

/// Five minutes: how far a record's timestamp may be ahead of the broker's clock. An accept time counts
/// only up to as much after the timestamp, so a forged one outranks newer orders for minutes at most.
const MAX_AHEAD_MS: &str = "300000";

/// The three topics as they must be on a log with this number of brokers.
pub(super) fn specs(
    log: &LogSettings,
    requested: &Requested,
    brokers: usize,
) -> Result<[TopicSpec; 3], Failure> {
    let topics = &log.topics;
    let brokers = i32::try_from(brokers).unwrap_or(i32::MAX);
    let replicas = requested.replication_factor.unwrap_or(brokers.clamp(1, 3));
    if replicas > brokers {
        return Err(Failure::usage(format!(
            "`--replication-factor` is {replicas}, and the cluster has {brokers} broker(s)"
        ))
        .hint("request fewer replicas, or add brokers"));
    }
    // An embedded log has one writer and one consumer, which gain nothing from more.
    let default_partitions = match log.engine {
        LogEngine::Kafka { .. } => 4,
        LogEngine::Embedded(_) => 1,
    };
    let partitions = requested.partitions.unwrap_or(default_partitions);
    // Set even where it is the default: a cluster-wide 2 with one replica accepts no record at all.
    let min_in_sync = if replicas >= 3 { "2" } else { "1" };
    let orders: &[(&str, &str)] = &[
        ("cleanup.policy", "delete"),
        ("message.timestamp.after.max.ms", MAX_AHEAD_MS),
        ("min.insync.replicas", min_in_sync),
        ("retention.ms", ORDERS_RETENTION_MS),
        ("unclean.leader.election.enable", "false"),
    ];
    // A segment an hour: records of the active segment are not deleted.
    let lookup: &[(&str, &str)] = &[
        ("cleanup.policy", "delete"),
        ("retention.ms", LOOKUP_RETENTION_MS),
        ("segment.ms", LOOKUP_RETENTION_MS),
    ];
    // An embedded log has neither replicas nor segments.
    let is_supported = |key: &str| match log.engine {
        LogEngine::Kafka { .. } => true,
        LogEngine::Embedded(_) => key == "retention.ms",
    };
    let spec = |name: &str, partitions, settings: &[(&str, &str)]| TopicSpec {
        name: name.to_owned(),
        partitions,
        replication_factor: replicas,
        settings: settings
            .iter()
            .filter(|(key, _)| is_supported(key))
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    };
    Ok([
        spec(&topics.orders, partitions, orders),
        spec(&topics.lookup, 1, lookup),
        spec(&topics.found, 1, lookup),
    ])
}

/// A wanted topic and the existing one of that name.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    wanted: TopicSpec,
    found: Option<TopicDescription>,
}

/// Compares each wanted topic with the existing one.
pub(super) fn findings(wanted: &[TopicSpec], described: &[TopicDescription]) -> Vec<Finding> {
    let compare = |spec: &TopicSpec| {
        let topic = described.iter().find(|topic| topic.name == spec.name);
        Finding {
            wanted: spec.clone(),
            found: topic.cloned(),
        }
    };
    wanted.iter().map(compare).collect()
}

fn partitions(topic: &TopicDescription) -> i32 {
    i32::try_from(topic.ranges.len()).unwrap_or(i32::MAX)
}

/// Whether no partition ever held a record: an offset above 0 was an order's once, even if it has
/// been deleted since.
fn is_untouched(topic: &TopicDescription) -> bool {
    topic.ranges.iter().all(|range| range.high == 0)
}

impl Finding {
    /// The topic to create, if it does not exist.
    pub(super) fn to_create(&self) -> Option<&TopicSpec> {
        self.found.is_none().then_some(&self.wanted)
    }

    /// The topic and its new number of partitions, if it may grow.
    pub(super) fn to_grow(&self) -> Option<(&str, i32)> {
        let found = self.found.as_ref()?;
        let grows = partitions(found) < self.wanted.partitions && is_untouched(found);
        grows.then_some((self.wanted.name.as_str(), self.wanted.partitions))
    }

    /// Why partitions cannot be added to the topic; `None` when it has enough, or may grow.
    pub(super) fn growth_refused(&self) -> Option<String> {
        let (name, wanted) = (&self.wanted.name, self.wanted.partitions);
        let found = self.found.as_ref()?;
        let has = partitions(found);
        if has >= wanted || is_untouched(found) {
            return None;
        }
        Some(format!(
            "topic `{name}` has {has} partition(s), not {wanted}, and none can be added: it has had \
             records, and an order's next version would go to another partition"
        ))
    }

    /// Everything in which the topic differs, a sentence each.
    pub(super) fn differences(&self) -> Vec<String> {
        let name = &self.wanted.name;
        let Some(found) = &self.found else {
            return vec![format!("topic `{name}` is missing")];
        };
        let mut differences = Vec::new();
        let (has, wanted) = (partitions(found), self.wanted.partitions);
        if let Some(refused) = self.growth_refused() {
            differences.push(refused);
        } else if has != wanted {
            differences.push(format!(
                "topic `{name}` has {has} partition(s), not {wanted}"
            ));
        }
        let (has, wanted) = (found.replication_factor, self.wanted.replication_factor);
        if has != wanted {
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

    /// Whether the topic exists and differs in nothing.
    pub(super) fn is_as_wanted(&self) -> bool {
        self.differences().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Topics;
    use crate::data_folder::DataFolder;
    use crate::event_log::OffsetRange;
    use crate::pipeline::{MAX_AHEAD_US, TopicId};

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
        let [orders, _, _] = specs(&kafka(), &Requested::default(), brokers).unwrap();
        orders
    }

    fn as_wanted(spec: &TopicSpec) -> TopicDescription {
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
        let specs = specs(&kafka(), &Requested::default(), 1).unwrap();
        let shapes = specs
            .each_ref()
            .map(|spec| (spec.name.as_str(), spec.partitions));
        assert_eq!(shapes, [("orders", 4), ("lookup", 1), ("found", 1)]);
        assert_eq!(specs[0].settings["retention.ms"], "2592000000");
        assert_eq!(specs[1].settings["retention.ms"], "3600000");
        assert_eq!(specs[0].settings["unclean.leader.election.enable"], "false");
        let max_ahead_us = MAX_AHEAD_MS.parse().map(|millis: i64| millis * 1_000);
        assert_eq!(max_ahead_us, Ok(MAX_AHEAD_US));
        let max_ahead = &specs[0].settings["message.timestamp.after.max.ms"];
        assert_eq!(max_ahead, MAX_AHEAD_MS);
        for spec in specs {
            assert_eq!(spec.settings["cleanup.policy"], "delete");
        }
    }

    #[test]
    fn an_embedded_log_has_one_partition_and_only_the_settings_that_it_supports() {
        let embedded = on(LogEngine::Embedded(DataFolder::new("d")));
        for spec in specs(&embedded, &Requested::default(), 1).unwrap() {
            assert_eq!((spec.partitions, spec.replication_factor), (1, 1));
            let keys: Vec<&str> = spec.settings.keys().map(String::as_str).collect();
            assert_eq!(keys, ["retention.ms"]);
        }
    }

    #[test]
    fn there_are_as_many_replicas_as_brokers_up_to_three_and_with_three_two_must_be_in_sync() {
        let shape = |brokers| {
            let spec = orders_spec(brokers);
            let in_sync = spec.settings["min.insync.replicas"].parse().unwrap();
            (spec.replication_factor, in_sync)
        };
        assert_eq!([1, 2, 3, 9].map(shape), [(1, 1), (2, 1), (3, 2), (3, 2)]);
    }

    #[test]
    fn more_replicas_than_brokers_are_refused() {
        let requested = Requested {
            replication_factor: Some(3),
            ..Requested::default()
        };
        let error = specs(&kafka(), &requested, 1).unwrap_err();
        let expected = "`--replication-factor` is 3, and the cluster has 1 broker(s)";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_missing_topic_is_created_and_one_without_differences_is_left_alone() {
        let spec = orders_spec(1);
        let missing = findings(std::slice::from_ref(&spec), &[]).remove(0);
        assert_eq!(missing.to_create().unwrap().name, "orders");
        assert_eq!(missing.differences(), ["topic `orders` is missing"]);
        let fine = finding(&spec, as_wanted(&spec));
        assert!(fine.is_as_wanted() && fine.to_create().is_none() && fine.to_grow().is_none());
    }

    #[test]
    fn a_topic_without_records_may_grow() {
        let spec = orders_spec(1);
        let mut small = as_wanted(&spec);
        small.ranges.truncate(1);
        let finding = finding(&spec, small);
        assert_eq!(finding.to_grow(), Some(("orders", 4)));
        assert_eq!(finding.growth_refused(), None);
        let difference = "topic `orders` has 1 partition(s), not 4";
        assert_eq!(finding.differences(), [difference]);
    }

    #[test]
    fn a_topic_that_ever_had_a_record_never_grows() {
        let spec = orders_spec(1);
        for (low, high) in [(0, 1), (5, 5)] {
            let mut used = as_wanted(&spec);
            used.ranges = vec![OffsetRange { low, high }];
            let finding = finding(&spec, used);
            assert_eq!(finding.to_grow(), None);
            let refused = finding.growth_refused().unwrap();
            let start = "topic `orders` has 1 partition(s), not 4";
            assert!(refused.starts_with(start), "{refused}");
            assert_eq!(finding.differences(), [refused]);
        }
    }

    #[test]
    fn every_difference_is_reported() {
        let spec = orders_spec(3);
        let mut drifted = as_wanted(&spec);
        drifted.ranges.push(OffsetRange { low: 0, high: 0 });
        drifted.replication_factor = 1;
        let settings = &mut drifted.settings;
        settings.insert("retention.ms".into(), "604800000".into());
        settings.remove("cleanup.policy");
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
