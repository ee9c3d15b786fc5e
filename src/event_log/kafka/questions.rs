//! Questions to the cluster: identities, ends, and the record at an exact offset.
//!
//! Ends and ids go through the helper client, which never fetches: 0.2 to 0.6 ms. A record at an
//! offset is read by a fresh client, because a seek on a reading one takes hundreds of milliseconds.

use std::ops::Range;

use super::*;

impl KafkaLog {
    pub(super) fn ask_topic(&self, topic: &str) -> Result<TopicState, LogError> {
        // Who asks often knows the number of partitions from before, so both questions travel
        // together; where the number turns out to be another, the ends are asked again.
        let question = self.ask_descriptions(&[topic])?;
        let expected = self.seen().get(topic).copied();
        let early = expected.map(|partitions| self.offsets(topic, 0..partitions, Offset::End));
        let described = self.described(question, topic).inspect_err(|error| {
            // Offsets of what is not there would be asked of a fresh client each time.
            if matches!(error, LogError::NotFound(_)) {
                self.seen().remove(topic);
            }
        })?;
        let highs = match early {
            Some(highs) if expected == Some(described.partitions) => highs?,
            _ => self.offsets(topic, 0..described.partitions, Offset::End)?,
        };
        self.seen().insert(topic.into(), described.partitions);
        let cluster = self
            .helper
            .client()
            .fetch_cluster_id(ANSWER_WITHIN)
            .ok_or_else(|| self.unreachable("ask for the cluster id"))?;
        Ok(TopicState {
            log_id: format!("{cluster}/{topic}"),
            topic_id: described.id,
            highs,
        })
    }

    /// The lows and highs of partitions; the lows first, so that none is above its high.
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

    pub(super) fn identify(&self, topic: &str) -> Result<topic_ids::Described, LogError> {
        self.described(self.ask_descriptions(&[topic])?, topic)
    }

    fn described(
        &self,
        question: topic_ids::Question<'_>,
        topic: &str,
    ) -> Result<topic_ids::Described, LogError> {
        self.descriptions(question)?.pop().flatten().ok_or_else(|| {
            LogError::NotFound(format!(
                "there is no topic `{topic}`: run `orders create-topics`"
            ))
        })
    }

    /// Ids, partition and replica counts of topics, in their order.
    pub(super) fn describe_by_id(
        &self,
        topics: &[&str],
    ) -> Result<Vec<Option<topic_ids::Described>>, LogError> {
        self.descriptions(self.ask_descriptions(topics)?)
    }

    fn ask_descriptions(&self, topics: &[&str]) -> Result<topic_ids::Question<'_>, LogError> {
        self.serve_helper();
        topic_ids::ask(self.helper.client(), topics, ANSWER_WITHIN)
    }

    fn descriptions(
        &self,
        question: topic_ids::Question<'_>,
    ) -> Result<Vec<Option<topic_ids::Described>>, LogError> {
        let described = question.answer().map_err(|error| match error {
            LogError::Unavailable(reason) => {
                LogError::Unavailable(format!("{reason} (brokers `{}`)", self.brokers))
            }
            other => other,
        })?;
        self.connection.answered();
        Ok(described)
    }

    /// The number of partitions of topics whose ends were asked before.
    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, i32>> {
        self.partitions_seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The low (`Beginning`) or high (`End`) of partitions, in one request a broker.
    fn offsets(
        &self,
        topic: &str,
        partitions: Range<i32>,
        which: Offset,
    ) -> Result<Vec<i64>, LogError> {
        let attempt = || format!("ask for the offsets of topic `{topic}`");
        let first = partitions.start;
        let mut offsets = vec![-1; partitions.len()];
        let asked = partitions.map(|partition| (partition, which));
        let asked = partition_list(topic, asked)?;
        let mut answer = list_offsets(&self.helper, &asked);
        if answer.as_ref().is_err_and(knows_no_leader) {
            // What a client heard while a broker stopped it believes for half a minute, and for ever
            // where the log was put back to an older leader epoch. A fresh one asks.
            let fresh = self
                .base
                .clone()
                .set("isolation.level", "read_uncommitted")
                .create_with_context(self.connected())
                .map_err(|error| describe_error(&attempt(), &error))?;
            answer = list_offsets(&fresh, &asked);
            std::thread::spawn(move || drop(fresh));
        }
        let answer = answer.map_err(|error| match describe_error(&attempt(), &error) {
            // The partitions are there, the broker named them: this passes.
            LogError::NotFound(message) if knows_no_leader(&error) => {
                LogError::Unavailable(message)
            }
            described => described,
        })?;
        for element in answer.elements() {
            if let (Offset::Offset(offset), Some(slot)) = (
                element.offset(),
                offsets.get_mut((element.partition() - first) as usize),
            ) {
                *slot = offset;
            }
        }
        if offsets.contains(&-1) {
            return Err(self.unreachable(&attempt()));
        }
        Ok(offsets)
    }

    pub(super) fn read_back(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<ReadBack, LogError> {
        let attempt = format!("read {topic}/{partition} from offset {offset}");
        let reader: BaseConsumer<Connected> = self
            .reading("orders-read-back")
            .set("fetch.wait.max.ms", "10")
            .create_with_context(self.connected())
            .map_err(|error| describe_error(&attempt, &error))?;
        let found = read_one(&reader, &attempt, topic, partition, offset);
        // Closing takes up to 100 ms; nobody need wait for it.
        std::thread::spawn(move || drop(reader));
        found
    }

    fn unreachable(&self, attempt: &str) -> LogError {
        LogError::Unavailable(format!(
            "could not {attempt}: Kafka at `{}` did not answer",
            self.brokers
        ))
    }

    /// Takes the helper's own events off its queue, so that they cannot pile up there, and sees to it
    /// that it has brokers.
    pub(super) fn serve_helper(&self) {
        let client = self.helper.client();
        let Connected {
            lifeline, logged, ..
        } = &**client.context();
        // A log line is served, too, and then the queue looks empty.
        while self.helper.poll(Duration::ZERO).is_some() || logged.swap(false, Ordering::Relaxed) {}
        lifeline.hold(client);
    }
}

fn list_offsets(
    client: &BaseConsumer<Connected>,
    asked: &TopicPartitionList,
) -> Result<TopicPartitionList, KafkaError> {
    let answer = client.offsets_for_times(asked.clone(), ANSWER_WITHIN)?;
    for element in answer.elements() {
        element.error()?;
    }
    Ok(answer)
}

/// Whether the client has no leader to ask: it says "unknown partition" when all are missing.
fn knows_no_leader(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::LeaderNotAvailable)
    )
}

fn read_one(
    reader: &BaseConsumer<Connected>,
    attempt: &str,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<ReadBack, LogError> {
    let failed = |error: KafkaError| describe_error(attempt, &error);
    let message = |error: &KafkaError| describe_error(attempt, error).to_string();
    // The committed end is asked before the first fetch: whatever it says, all below it is decided,
    // so "end of partition before any record" means that nothing readable lies between.
    let (_, end) = reader
        .fetch_watermarks(topic, partition, ANSWER_WITHIN)
        .map_err(failed)?;
    if offset >= end {
        return Ok(ReadBack::End(end));
    }
    let list = offset_list(topic, &[PartitionOffset::new(partition, offset)])?;
    reader.assign(&list).map_err(failed)?;
    let until = Instant::now() + ANSWER_WITHIN;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match reader.poll(left) {
            Some(Ok(message)) => return Ok(ReadBack::Record(owned(&message))),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(ReadBack::End(end)),
            Some(Err(error)) => match fault(&error) {
                LogFault::Transient(_) => {}
                LogFault::Reset(_) => return Err(LogError::NotFound(message(&error))),
                LogFault::Corrupt(_) | LogFault::Fatal(_) => {
                    return Err(LogError::Refused(message(&error)));
                }
            },
            None => {}
        }
        if left.is_zero() {
            return Err(LogError::Unavailable(format!(
                "could not {attempt}: no answer in time"
            )));
        }
    }
}
