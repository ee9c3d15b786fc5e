//! Queries to the cluster: ids, ends, and the record at an exact offset.
//!
//! Ids and ends go through a client that never fetches: 0.2 to 0.6 ms. A record at an offset is read
//! by a fresh client, because a seek on a reading one takes hundreds of milliseconds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::change_topics;
use super::clients::{Clients, drop_in_background, offset_list, partition_list, to_record};
use super::connectivity::KafkaContext;
use super::describe_topics::{self, Described, Request};
use super::errors::{log_error, log_fault};
use super::request_timeout;
use crate::event_log::{LogError, LogFault, OffsetRange, ReadBack, TopicSpec, TopicState};
use crate::pipeline::PartitionOffset;
use crate::sync::lock;

/// Sends queries by a client of its own.
pub(super) struct Queries {
    clients: Arc<Clients>,
    client: BaseConsumer<KafkaContext>,
    /// The number of partitions of each topic whose ends were listed before.
    partition_counts: Mutex<BTreeMap<String, i32>>,
}

impl Queries {
    pub(super) fn new(clients: &Arc<Clients>) -> Result<Queries, LogError> {
        let client = clients.query_client();
        Ok(Queries {
            clients: clients.clone(),
            client: client.map_err(|error| log_error("set up the Kafka client", &error))?,
            partition_counts: Mutex::default(),
        })
    }

    /// Identity and ends of a topic. From the second time on both requests travel together, as the
    /// number of partitions is known from before; if it has changed, the ends are listed again.
    pub(super) fn topic(&self, topic: &str) -> Result<TopicState, LogError> {
        let request = self.send_describe(&[topic])?;
        let expected = lock(&self.partition_counts).get(topic).copied();
        let early = expected.map(|count| self.offsets(topic, 0..count, Offset::End));
        let described = self.receive_one(request, topic).inspect_err(|error| {
            // The offsets of a missing topic would be listed by a fresh client each time.
            if matches!(error, LogError::NotFound(_)) {
                lock(&self.partition_counts).remove(topic);
            }
        })?;
        let highs = match early {
            Some(highs) if expected == Some(described.partitions) => highs?,
            _ => self.offsets(topic, 0..described.partitions, Offset::End)?,
        };
        lock(&self.partition_counts).insert(topic.into(), described.partitions);
        // Known to the client since its first metadata response.
        let cluster = self.client.client().fetch_cluster_id(request_timeout());
        let cluster = cluster.ok_or_else(|| self.no_response("get the cluster id"))?;
        Ok(TopicState {
            log_id: format!("{cluster}/{topic}"),
            topic_id: described.id,
            highs,
        })
    }

    /// Id, partitions and replicas of a topic, which any broker knows.
    pub(super) fn describe(&self, topic: &str) -> Result<Described, LogError> {
        self.receive_one(self.send_describe(&[topic])?, topic)
    }

    /// As [`Queries::describe`], for many topics in their order; `None` for those that do not exist.
    pub(super) fn describe_all(&self, topics: &[&str]) -> Result<Vec<Option<Described>>, LogError> {
        self.receive(self.send_describe(topics)?)
    }

    /// The offsets that one partition holds.
    pub(super) fn range(&self, topic: &str, partition: i32) -> Result<OffsetRange, LogError> {
        if !(0..self.describe(topic)?.partitions).contains(&partition) {
            let message = format!("topic `{topic}` has no partition {partition}");
            return Err(LogError::NotFound(message));
        }
        Ok(self.ranges(topic, partition..partition + 1)?[0])
    }

    /// The offsets that existing partitions hold. The lows are listed first, so that none is above its
    /// high.
    pub(super) fn ranges(
        &self,
        topic: &str,
        partitions: Range<i32>,
    ) -> Result<Vec<OffsetRange>, LogError> {
        let lows = self.offsets(topic, partitions.clone(), Offset::Beginning)?;
        let highs = self.offsets(topic, partitions, Offset::End)?;
        let range = |(low, high)| OffsetRange { low, high };
        Ok(lows.into_iter().zip(highs).map(range).collect())
    }

    /// For each partition its first offset at or after a time, or its end.
    pub(super) fn offsets_since(&self, topic: &str, since_ms: i64) -> Result<Vec<i64>, LogError> {
        let partitions = self.describe(topic)?.partitions;
        self.offsets(topic, 0..partitions, Offset::Offset(since_ms.max(0)))
    }

    /// Brokers and topics of the cluster.
    pub(super) fn metadata(&self, attempt: &str) -> Result<Metadata, LogError> {
        self.serve_events();
        let metadata = self
            .client
            .client()
            .fetch_metadata(None, request_timeout())
            .map_err(|error| log_error(attempt, &error));
        self.explained(metadata)
    }

    /// How many members a group has.
    pub(super) fn members(&self, group: &str) -> Result<usize, LogError> {
        self.serve_events();
        let client = self.client.client();
        let listed = client.fetch_group_list(Some(group), request_timeout());
        let attempt = format!("list the members of group `{group}`");
        let listed = self.explained(listed.map_err(|error| log_error(&attempt, &error)))?;
        let groups = listed.groups().iter();
        Ok(groups.map(|group| group.members().len()).sum())
    }

    /// Creates topics; one that exists by then is left as it is.
    pub(super) fn create(&self, wanted: &[TopicSpec]) -> Result<(), LogError> {
        self.explained(change_topics::create(self.client.client(), wanted))
    }

    /// Adds partitions to a topic.
    pub(super) fn grow(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        self.explained(change_topics::grow(self.client.client(), topic, partitions))
    }

    /// Adds the client's own reason to an outage: a request that is not answered in time only says that.
    fn explained<T>(&self, result: Result<T, LogError>) -> Result<T, LogError> {
        result.map_err(|error| {
            // Its error events wait in its queue.
            self.serve_events();
            self.clients.connectivity.explain(error)
        })
    }

    fn send_describe(&self, topics: &[&str]) -> Result<Request<'_>, LogError> {
        self.serve_events();
        describe_topics::send(self.client.client(), topics)
    }

    fn receive(&self, request: Request<'_>) -> Result<Vec<Option<Described>>, LogError> {
        let described = self.explained(request.receive().map_err(|error| match error {
            LogError::Unavailable(reason) => {
                LogError::Unavailable(format!("{reason} (brokers `{}`)", self.clients.brokers))
            }
            other => other,
        }))?;
        self.clients.connectivity.responded();
        Ok(described)
    }

    fn receive_one(&self, request: Request<'_>, topic: &str) -> Result<Described, LogError> {
        let described = self.receive(request)?.pop().flatten();
        described.ok_or_else(|| {
            LogError::NotFound(format!(
                "there is no topic `{topic}`: run `orders create-topics`"
            ))
        })
    }

    /// The low (`Beginning`), the high (`End`), or the first offset at or after a time (`Offset`, in
    /// milliseconds; the high where there is none) of existing partitions, in one request a broker.
    fn offsets(
        &self,
        topic: &str,
        partitions: Range<i32>,
        which: Offset,
    ) -> Result<Vec<i64>, LogError> {
        let attempt = format!("list the offsets of topic `{topic}`");
        let mut offsets = match which {
            // What comes meanwhile is later than any time.
            Offset::Offset(_) => self.offsets(topic, partitions.clone(), Offset::End)?,
            _ => vec![-1; partitions.len()],
        };
        let first = partitions.start;
        let wanted = partition_list(topic, partitions.map(|partition| (partition, which)))?;
        let mut listed = list_offsets(&self.client, &wanted);
        if listed.as_ref().is_err_and(knows_no_leader) {
            // A client keeps metadata that it received while a broker stopped for half a minute, and
            // for ever where the log was restored with an older leader epoch. A fresh client has none.
            let fresh = self.clients.query_client();
            let fresh = fresh.map_err(|error| log_error(&attempt, &error))?;
            listed = list_offsets(&fresh, &wanted);
            drop_in_background(fresh);
        }
        let listed = self.explained(listed.map_err(|error| {
            match log_error(&attempt, &error) {
                // The broker has just named these partitions, so this is temporary.
                LogError::NotFound(message) if knows_no_leader(&error) => {
                    LogError::Unavailable(message)
                }
                other => other,
            }
        }))?;
        for element in listed.elements() {
            if let (Offset::Offset(offset), Some(slot)) = (
                element.offset(),
                offsets.get_mut((element.partition() - first) as usize),
            ) {
                *slot = offset;
            }
        }
        if offsets.contains(&-1) {
            return Err(self.no_response(&attempt));
        }
        Ok(offsets)
    }

    fn no_response(&self, attempt: &str) -> LogError {
        let brokers = &self.clients.brokers;
        self.serve_events();
        self.clients
            .connectivity
            .explain(LogError::Unavailable(format!(
                "could not {attempt}: Kafka at `{brokers}` did not respond"
            )))
    }

    /// Empties the client's event queue, which would grow without bound, and checks that it knows
    /// brokers.
    fn serve_events(&self) {
        let client = self.client.client();
        let KafkaContext {
            watchdog, logged, ..
        } = &**client.context();
        // A log line is served as well, and then the queue looks empty.
        while self.client.poll(Duration::ZERO).is_some() || logged.swap(false, Ordering::Relaxed) {}
        watchdog.check(client);
    }
}

fn list_offsets(
    client: &BaseConsumer<KafkaContext>,
    wanted: &TopicPartitionList,
) -> Result<TopicPartitionList, KafkaError> {
    let listed = client.offsets_for_times(wanted.clone(), request_timeout())?;
    for element in listed.elements() {
        element.error()?;
    }
    Ok(listed)
}

/// Whether the client knows no leader: it reports "unknown partition" when all are missing.
fn knows_no_leader(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::LeaderNotAvailable)
    )
}

/// The first committed record at or after an offset, or the end, read by a fresh client.
pub(super) fn read_from(
    clients: &Clients,
    topic: &str,
    start: PartitionOffset,
) -> Result<ReadBack, LogError> {
    let attempt = format!(
        "read {topic}/{} from offset {}",
        start.partition, start.offset
    );
    let reader: BaseConsumer<KafkaContext> = clients
        .reader_config("orders-read-back", &[])
        .set("fetch.wait.max.ms", "10")
        .create_with_context(clients.context(()))
        .map_err(|error| log_error(&attempt, &error))?;
    let read = read_one(&reader, &attempt, topic, start);
    let read = read.map_err(|error| clients.connectivity.explain(error));
    drop_in_background(reader);
    read
}

fn read_one(
    reader: &BaseConsumer<KafkaContext>,
    attempt: &str,
    topic: &str,
    start: PartitionOffset,
) -> Result<ReadBack, LogError> {
    let failed = |error: KafkaError| log_error(attempt, &error);
    // The committed end is read before the first fetch: whatever it is, all below it is decided,
    // so "end of partition before any record" means that nothing readable lies between.
    let (_, end) = reader
        .fetch_watermarks(topic, start.partition, request_timeout())
        .map_err(failed)?;
    if start.offset >= end {
        return Ok(ReadBack::End(end));
    }
    reader
        .assign(&offset_list(topic, &[start])?)
        .map_err(failed)?;
    let deadline = Instant::now() + request_timeout();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match reader.poll(left) {
            Some(Ok(message)) => return Ok(ReadBack::Record(to_record(&message))),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(ReadBack::End(end)),
            Some(Err(error)) => {
                let message = log_error(attempt, &error).to_string();
                match log_fault(&error) {
                    LogFault::Transient(_) => {}
                    LogFault::Reset(_) => return Err(LogError::NotFound(message)),
                    LogFault::Corrupt(_) | LogFault::Fatal(_) => {
                        return Err(LogError::Refused(message));
                    }
                }
            }
            None => {}
        }
        if left.is_zero() {
            return Err(LogError::Unavailable(format!(
                "could not {attempt}: no response in time"
            )));
        }
    }
}
