//! The members and the committed offsets of a consumer group, as kafka-consumer-groups shows and resets
//! them.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::{Env, TIMEOUT, eventually_ok};

fn client(env: &Env) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", &env.brokers)
        .set("group.id", env.group())
        .create()
        .expect("the client's settings are valid")
}

/// The offset that the test's group has committed for a partition of the topic of orders.
pub fn committed(env: &Env, partition: i32) -> Option<i64> {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition(&env.topic(), partition);
    let client = client(env);
    let read = eventually_ok("the group's offsets", TIMEOUT, || {
        client.committed_offsets(wanted.clone(), Duration::from_secs(5))
    });
    match read.elements()[0].offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// Commits an offset for a group without members, as `--reset-offsets` does.
pub fn reset(env: &Env, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&env.topic(), partition, Offset::Offset(offset))
        .expect("the offset is valid");
    let client = client(env);
    eventually_ok("the offset to be reset", TIMEOUT, || {
        client.commit(&list, CommitMode::Sync)
    });
}

/// The `client.id` of each member.
pub fn client_ids(env: &Env) -> Vec<String> {
    let client = client(env);
    let groups = eventually_ok("the group", TIMEOUT, || {
        let group = env.group();
        client.fetch_group_list(Some(&group), Duration::from_secs(5))
    });
    let members = groups.groups().iter().flat_map(|group| group.members());
    members
        .map(|member| member.client_id().to_owned())
        .collect()
}
