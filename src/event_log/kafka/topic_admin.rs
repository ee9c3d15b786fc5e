//! Creating, growing and describing topics, for `orders create-topics`.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::KafkaLog;
use super::errors::log_error;
use crate::event_log::{LogError, TopicAdmin, TopicDescription, TopicSpec};

const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

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
        let topics: Vec<NewTopic<'_>> = wanted
            .iter()
            .map(|spec| {
                let replication = TopicReplication::Fixed(spec.replication_factor);
                let topic = NewTopic::new(&spec.name, spec.partitions, replication);
                spec.settings
                    .iter()
                    .fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        let results = block_on(self.admin_client()?.create_topics(&topics, &options()))?
            .map_err(|error| log_error("create topics", &error))?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let attempt = format!("create topic `{name}`");
                    return Err(log_error(&attempt, &KafkaError::AdminOp(code)));
                }
            }
        }
        self.await_leaders(wanted)
    }

    fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        let attempt = format!("grow topic `{topic}` to {partitions} partitions");
        let wanted = [NewPartitions::new(topic, partitions as usize)];
        let results = block_on(self.admin_client()?.create_partitions(&wanted, &options()))?
            .map_err(|error| log_error(&attempt, &error))?;
        for result in results {
            result.map_err(|(_, code)| log_error(&attempt, &KafkaError::AdminOp(code)))?;
        }
        Ok(())
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

    fn admin_client(&self) -> Result<AdminClient<DefaultClientContext>, LogError> {
        let client = self.clients.config().create();
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
