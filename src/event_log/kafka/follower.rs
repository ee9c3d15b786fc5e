//! Reading a whole topic without a group: every API instance must see every record.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;

use super::clients::{Clients, offset_list, to_record};
use super::connectivity::KafkaContext;
use super::errors::{log_error, log_fault};
use crate::event_log::{Followed, Follower, Knows, LogError};
use crate::pipeline::PartitionOffset;

/// How much the broker collects before it responds, if that comes before the delay is over.
const FETCH_MIN_BYTES: &str = "1048576";

pub(super) struct KafkaFollower {
    clients: Arc<Clients>,
    consumer: BaseConsumer<KafkaContext>,
    topic: String,
}

impl KafkaFollower {
    pub(super) fn open(
        clients: &Arc<Clients>,
        topic: &str,
        starts: &[PartitionOffset],
        max_delay: Duration,
    ) -> Result<KafkaFollower, LogError> {
        let max_delay_ms = max_delay.as_millis().to_string();
        let mut defaults = vec![
            ("queued.max.messages.kbytes", "4096"),
            ("queued.min.messages", "10000"),
        ];
        if !max_delay.is_zero() {
            // The broker responds when either is reached. With the default of one byte it responds
            // to every single record, and serving the followers costs it more than the orders do.
            defaults.push(("fetch.min.bytes", FETCH_MIN_BYTES));
            defaults.push(("fetch.wait.max.ms", &max_delay_ms));
        }
        let consumer = clients
            .reader_config("orders-follower", &defaults)
            .create_with_context(clients.context(()))
            .map_err(|error| log_error(&format!("follow topic `{topic}`"), &error))?;
        let mut follower = KafkaFollower {
            clients: clients.clone(),
            consumer,
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
            client.context().watchdog.check(client);
            return None;
        };
        Some(match event {
            Ok(message) => {
                self.clients.connectivity.responded();
                let at = PartitionOffset::new(message.partition(), message.offset());
                if message.key().is_some_and(|key| knows(at, key)) {
                    Followed::Known(at)
                } else {
                    Followed::Record(to_record(&message))
                }
            }
            Err(KafkaError::PartitionEOF(partition)) => Followed::End(partition),
            // The client asks for the coordinator of its group, in which a follower is no member: a
            // principal needs no right to it.
            Err(error)
                if error.rdkafka_error_code()
                    == Some(RDKafkaErrorCode::GroupAuthorizationFailed) =>
            {
                return None;
            }
            Err(error) => Followed::Fault(log_fault(&error)),
        })
    }

    fn assign(&mut self, starts: &[PartitionOffset]) -> Result<(), LogError> {
        self.consumer
            .assign(&offset_list(&self.topic, starts)?)
            .map_err(|error| log_error(&format!("follow topic `{}`", self.topic), &error))
    }
}
