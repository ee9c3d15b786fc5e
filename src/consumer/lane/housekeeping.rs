//! What an idle moment is good for: recreated topics, trailing transaction markers, a client that
//! has gone silent, partitions that were left out.

use super::*;

impl Lane {
    /// Looks after all partitions of the lane, once a second; ends it where they must be retaken.
    pub(super) fn keep_house(
        &self,
        connection: &mut Connection,
        parts: &mut [Part],
    ) -> Result<(), Ended> {
        let Some(seen) = self.context.watch.topic() else {
            return Ok(());
        };
        if self.context.watch.returns() != self.returns {
            // What came back may be an older copy. No rebalance tells if its group knows us, and a
            // database that went back is filled again from its own position.
            return Err(Ended::Retake(
                "the log or the database was away: making sure that both are as they were".into(),
            ));
        }
        for part in parts.iter_mut() {
            if part.position.topic_id.contradicts(&seen.topic_id) {
                // librdkafka reads a recreated topic on at its old offset without a word.
                return Err(Ended::Retake(
                    "the topic was deleted and created again".into(),
                ));
            }
            let Some(high) = seen.highs.get(part.partition as usize) else {
                continue;
            };
            self.context
                .status
                .lag(part.partition, (high - part.next).max(0));
            if part.damaged {
                self.look_at_damage(part)?;
            } else if *high > part.next && part.waits_for() > SILENT {
                self.look_into_silence(connection, part)?;
            }
        }
        if parts.len() < self.partitions.len() {
            self.reconsider(connection, parts, &seen)?;
        }
        Ok(())
    }

    /// A damaged batch may be mended, or may have been damaged only on its way. One look each time:
    /// the other partitions of this lane must not wait for a broker that is away.
    fn look_at_damage(&self, part: &Part) -> Result<(), Ended> {
        let topic = &self.context.settings.topics.orders;
        match self.context.log.read_from(topic, part.partition, part.next) {
            Ok(_) => Err(Ended::Retake(format!(
                "partition {} can be read again",
                part.partition
            ))),
            Err(LogError::NotFound(reason)) => Err(Ended::Retake(reason)),
            Err(LogError::Unavailable(_)) => Ok(()),
            Err(LogError::Refused(reason)) => {
                self.tell_damaged(part.partition, &reason);
                Ok(())
            }
        }
    }

    fn look_into_silence(&self, connection: &mut Connection, part: &mut Part) -> Result<(), Ended> {
        if clock::now() - part.looked_at < SILENT {
            return Ok(());
        }
        part.looked_at = clock::now();
        match self.read_from(part.partition, part.next)? {
            // All below the committed end is decided and holds no record: markers. Moving over them
            // is what lets a lookup be "caught up".
            ReadBack::End(end) if end > part.next => {
                let reason = "no record there: transaction markers or compaction";
                let batch = batch::empty(&self.place(part), part.next, end, reason);
                let mut window = RejectionWindow::default();
                let name = status::partition(part.partition);
                if connection.apply(&name, &batch, &mut window)?.is_some() {
                    part.next = end;
                    self.context.applied(part.partition, end);
                }
                Ok(())
            }
            ReadBack::End(_) => Ok(()),
            ReadBack::Record(record) if part.waits_for() > 3 * SILENT => {
                Err(Ended::Stalled(format!(
                    "the record at {}/{} is there and was not delivered",
                    part.partition, record.offset
                )))
            }
            ReadBack::Record(_) => Ok(()),
        }
    }

    /// Looks again at partitions that were left unread, without taking them.
    fn reconsider(
        &self,
        connection: &mut Connection,
        parts: &[Part],
        seen: &TopicState,
    ) -> Result<(), Ended> {
        for partition in &self.partitions {
            if parts.iter().any(|part| part.partition == *partition) {
                continue;
            }
            let claim = self.claim(&seen.log_id, *partition);
            let name = status::partition(*partition);
            let read = |store: &mut dyn crate::store::OrderStore| {
                store.position(&claim.log_id, claim.partition)
            };
            let position = connection.persist(&name, read)?;
            let topic = &self.context.settings.topics.orders;
            // One attempt: the other partitions of this lane must not wait for this one's broker.
            let Ok(range) = self.context.log.range(topic, *partition) else {
                continue;
            };
            let topic_id = &seen.topic_id;
            let Some(decision) = self.decide(&claim, topic_id, range, position.as_ref())? else {
                continue;
            };
            if !matches!(decision, Decision::Stop { .. } | Decision::Wait) {
                return Err(Ended::Retake(format!(
                    "partition {partition} can be read again"
                )));
            }
            // An outage may have been told in its place meanwhile.
            self.tell_unread(*partition, &decision);
        }
        Ok(())
    }
}
