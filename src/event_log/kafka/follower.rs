//! Reading a whole topic without a group: every API instance must see every record.

use super::*;

/// How much the broker gathers before it answers, if it comes before the time is over.
const GATHER_BYTES: &str = "1048576";

pub(super) struct KafkaFollower {
    consumer: BaseConsumer<Connected>,
    connection: Arc<Connection>,
    topic: String,
}

impl KafkaFollower {
    pub(super) fn open(
        log: &KafkaLog,
        topic: &str,
        starts: &[PartitionOffset],
        gather: Duration,
    ) -> Result<KafkaFollower, LogError> {
        let mut config = log.reading("orders-follower");
        let gather_ms = gather.as_millis().to_string();
        let mut defaults = vec![
            ("queued.max.messages.kbytes", "4096"),
            ("queued.min.messages", "10000"),
        ];
        if !gather.is_zero() {
            // The broker answers when either is reached. With the default of one byte it answers
            // every single record, and serving the followers costs it more than the orders do.
            defaults.push(("fetch.min.bytes", GATHER_BYTES));
            defaults.push(("fetch.wait.max.ms", &gather_ms));
        }
        for (key, value) in defaults {
            if log.base.get(key).is_none() {
                config.set(key, value);
            }
        }
        let consumer = config
            .create_with_context(log.connected())
            .map_err(|error| describe_error(&format!("follow topic `{topic}`"), &error))?;
        let mut follower = KafkaFollower {
            consumer,
            connection: log.connection.clone(),
            topic: topic.into(),
        };
        follower.assign(starts)?;
        Ok(follower)
    }
}

impl Follower for KafkaFollower {
    fn next(&mut self, wait: Duration, knows: &Knows<'_>) -> Option<Followed> {
        let Some(event) = self.consumer.poll(wait) else {
            let client = self.consumer.client();
            client.context().lifeline.hold(client);
            return None;
        };
        match event {
            Ok(message) => {
                self.connection.answered();
                let at = PartitionOffset::new(message.partition(), message.offset());
                let is_known = message.key().is_some_and(|key| knows(at, key));
                Some(if is_known {
                    Followed::Known(at)
                } else {
                    Followed::Record(owned(&message))
                })
            }
            Err(KafkaError::PartitionEOF(partition)) => Some(Followed::End(partition)),
            Err(error) => Some(Followed::Fault(fault(&error))),
        }
    }

    fn assign(&mut self, starts: &[PartitionOffset]) -> Result<(), LogError> {
        self.consumer
            .assign(&offset_list(&self.topic, starts)?)
            .map_err(|error| describe_error(&format!("follow topic `{}`", self.topic), &error))
    }
}
