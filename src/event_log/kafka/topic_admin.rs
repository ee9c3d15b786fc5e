//! Creating, growing and describing topics, for `orders create-topics`.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::error::KafkaError;

use super::connectivity::KafkaContext;
use super::errors::log_error;
use super::{CHANGE_TIMEOUT, KafkaLog};
use crate::event_log::{LogError, TopicAdmin, TopicDescription, TopicSpec};

impl TopicAdmin for KafkaLog {
    fn brokers(&self) -> Result<usize, LogError> {
        let attempt = format!("reach Kafka at `{}`", self.clients.brokers);
        Ok(self.queries.metadata(&attempt)?.brokers().len())
    }

    fn describe(&self, names: Option<&[&str]>) -> Result<Vec<TopicDescription>, LogError> {
        let all;
        let names = match names {
            Some(names) => names.to_vec(),
            None => {
                all = self.topic_names()?;
                all.iter().map(String::as_str).collect()
            }
        };
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let described = self.queries.describe_all(&names)?;
        let existing: Vec<_> = names
            .into_iter()
            .zip(described)
            .filter_map(|(name, described)| Some((name, described?)))
            .collect();
        let settings = self.topic_settings(existing.iter().map(|(name, _)| *name))?;
        let topics = existing.into_iter().zip(settings);
        topics
            .map(|((name, described), settings)| {
                Ok(TopicDescription {
                    name: name.into(),
                    topic_id: described.id,
                    replication_factor: described.replicas,
                    ranges: self.queries.ranges(name, 0..described.partitions)?,
                    settings,
                })
            })
            .collect()
    }

    fn create_topics(&self, wanted: &[TopicSpec]) -> Result<(), LogError> {
        self.queries.create(wanted)?;
        self.await_leaders(wanted)
    }

    fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        self.queries.grow(topic, partitions)
    }
}

impl KafkaLog {
    /// A new topic has no leaders for some milliseconds; the next user should not notice.
    fn await_leaders(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let deadline = Instant::now() + CHANGE_TIMEOUT;
        for topic in topics {
            while let Err(error) = self.queries.topic(&topic.name) {
                if Instant::now() >= deadline {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    fn topic_names(&self) -> Result<Vec<String>, LogError> {
        let metadata = self.queries.metadata("list the topics")?;
        let topics = metadata.topics().iter();
        let mut names: Vec<_> = topics.map(|topic| topic.name().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// The configuration entries of topics, in their order.
    fn topic_settings<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<BTreeMap<String, String>>, LogError> {
        let resources: Vec<_> = names.map(ResourceSpecifier::Topic).collect();
        if resources.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error: KafkaError| log_error("read topic settings", &error);
        block_on(
            self.admin_client()?
                .describe_configs(&resources, &options()),
        )?
        .map_err(failed)?
        .into_iter()
        .map(|resource| {
            let resource = resource.map_err(|code| failed(KafkaError::AdminOp(code)))?;
            let entries = resource.entries.into_iter();
            Ok(entries
                .filter_map(|entry| Some((entry.name, entry.value?)))
                .collect())
        })
        .collect()
    }

    fn admin_client(&self) -> Result<AdminClient<KafkaContext>, LogError> {
        let client = self
            .clients
            .config()
            .create_with_context(self.clients.context(()));
        client.map_err(|error| log_error("set up the Kafka client", &error))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CHANGE_TIMEOUT))
        .operation_timeout(Some(CHANGE_TIMEOUT))
}

/// rdkafka's admin calls are futures; their callers here are plain threads.
fn block_on<F: Future>(future: F) -> Result<F::Output, LogError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| {
        LogError::Refused(format!("could not start the Kafka admin call: {error}"))
    })?;
    Ok(runtime.block_on(future))
}
