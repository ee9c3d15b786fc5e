//! Making, growing and describing topics, for `orders create-topics`.

use super::*;

const CHANGE_WITHIN: Duration = Duration::from_secs(30);

impl TopicAdmin for KafkaLog {
    fn brokers(&self) -> Result<usize, LogError> {
        self.serve_helper();
        self.helper
            .client()
            .fetch_metadata(None, ANSWER_WITHIN)
            .map(|metadata| metadata.brokers().len())
            .map_err(|error| describe_error(&format!("reach Kafka at `{}`", self.brokers), &error))
    }

    fn create_topics(&self, wanted: &[TopicSpec]) -> Result<(), LogError> {
        let admin = self.admin()?;
        let topics: Vec<NewTopic<'_>> = wanted
            .iter()
            .map(|spec| {
                let mut topic = NewTopic::new(
                    &spec.name,
                    spec.partitions,
                    TopicReplication::Fixed(spec.replication_factor),
                );
                for (key, value) in &spec.settings {
                    topic = topic.set(key, value);
                }
                topic
            })
            .collect();
        let results = block_on(admin.create_topics(&topics, &options()))?
            .map_err(|error| describe_error("create topics", &error))?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let error = KafkaError::AdminOp(code);
                    return Err(describe_error(&format!("create topic `{name}`"), &error));
                }
            }
        }
        self.await_leaders(wanted)
    }

    fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        let attempt = format!("grow topic `{topic}` to {partitions} partitions");
        let wanted = [NewPartitions::new(topic, partitions as usize)];
        let admin = self.admin()?;
        let results = block_on(admin.create_partitions(&wanted, &options()))?
            .map_err(|error| describe_error(&attempt, &error))?;
        for result in results {
            result.map_err(|(_, code)| describe_error(&attempt, &KafkaError::AdminOp(code)))?;
        }
        Ok(())
    }

    fn describe(&self, names: Option<&[&str]>) -> Result<Vec<TopicDescription>, LogError> {
        let all;
        let names: Vec<&str> = match names {
            Some(names) => names.to_vec(),
            None => {
                all = self.topic_names()?;
                all.iter().map(String::as_str).collect()
            }
        };
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let described = self.describe_by_id(&names)?;
        let present: Vec<_> = names
            .iter()
            .zip(described)
            .filter_map(|(name, found)| Some((*name, found?)))
            .collect();
        let settings = self.settings(&present.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
        present
            .into_iter()
            .zip(settings)
            .map(|((name, found), settings)| {
                Ok(TopicDescription {
                    name: name.into(),
                    topic_id: found.id,
                    replication_factor: found.replicas,
                    ranges: self.ranges(name, 0..found.partitions)?,
                    settings,
                })
            })
            .collect()
    }
}

impl KafkaLog {
    /// A topic just made has no leaders for some milliseconds; whoever uses it next should not see
    /// that.
    fn await_leaders(&self, wanted: &[TopicSpec]) -> Result<(), LogError> {
        let until = Instant::now() + CHANGE_WITHIN;
        for spec in wanted {
            while let Err(error) = self.ask_topic(&spec.name) {
                if Instant::now() >= until {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    fn topic_names(&self) -> Result<Vec<String>, LogError> {
        let metadata = self
            .helper
            .client()
            .fetch_metadata(None, ANSWER_WITHIN)
            .map_err(|error| describe_error("list the topics", &error))?;
        let mut names: Vec<_> = metadata
            .topics()
            .iter()
            .map(|topic| topic.name().to_string())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The configuration entries of topics, in their order.
    fn settings(&self, names: &[&str]) -> Result<Vec<BTreeMap<String, String>>, LogError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let attempt = "ask for topic settings";
        let resources: Vec<_> = names
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let admin = self.admin()?;
        block_on(admin.describe_configs(&resources, &options()))?
            .map_err(|error| describe_error(attempt, &error))?
            .into_iter()
            .map(|resource| {
                let resource =
                    resource.map_err(|code| describe_error(attempt, &KafkaError::AdminOp(code)))?;
                Ok(resource
                    .entries
                    .into_iter()
                    .filter_map(|entry| Some((entry.name, entry.value?)))
                    .collect())
            })
            .collect()
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, LogError> {
        self.base
            .create()
            .map_err(|error| describe_error("set up the Kafka client", &error))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CHANGE_WITHIN))
        .operation_timeout(Some(CHANGE_WITHIN))
}

/// rdkafka's admin calls are futures; their callers here are plain threads.
fn block_on<F: Future>(future: F) -> Result<F::Output, LogError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| {
            LogError::Refused(format!("could not start the Kafka admin call: {error}"))
        })?;
    Ok(runtime.block_on(future))
}
