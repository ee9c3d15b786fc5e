//! The threads that follow the log: one reads the orders, one the answers, one watches both.
//!
//! Owns when a follower is made, moved or made anew; what a record means is decided in `knowledge`,
//! and how far is far enough in `tail`. Everything retries for ever: a service whose log is away
//! goes on and says so. The surprising thing: no consumer group. Every instance must see every
//! record, and starts from the ends as numbers, because "the end" as Kafka's client understands it
//! misses what comes in the next 20 ms.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::knowledge::Knowledge;
use super::tail::{Command, Tail};
use crate::event_log::{EventLog, Followed, Follower, LogError, LogFault, ReadBack};
use crate::pipeline::{PartitionOffset, Record, TopicId};
use crate::shutdown::Shutdown;

/// How long a follower waits for a record before it looks up.
const POLL: Duration = Duration::from_millis(100);

/// How late another instance's order may be seen here. Most orders followed are our own, which the
/// cache has already: taking them in heaps leaves the processor to those that are being posted.
const GATHER_ORDERS: Duration = Duration::from_millis(10);

/// How long to wait before beginning again.
const RETRY: Duration = Duration::from_millis(500);

/// How often the ends are asked for, while all is well and while it is not.
const ASK: Duration = Duration::from_secs(1);
const ASK_IN_DOUBT: Duration = Duration::from_millis(200);

/// Why reading stopped.
enum Left {
    Stopped,
    /// Go on where it was.
    Resume,
    /// Forget everything and begin at the ends.
    BeginAnew,
}

/// Whether the record at this offset of that incarnation of the topic is known by its key.
type Holds<'a> = dyn Fn(&TopicId, PartitionOffset, &[u8]) -> bool + 'a;

/// What is done with each record, and what when the follower begins at the ends.
struct Duty<'a> {
    /// Whether there is nothing to be done with the record at this place, under this key.
    knows: &'a Holds<'a>,
    take: &'a dyn Fn(&Record, &TopicId),
    forget: &'a dyn Fn(),
    gather: Duration,
}

/// Follows the topic of orders until a stop is requested: every order enters the cache.
pub fn follow_orders(log: &dyn EventLog, knowledge: &Knowledge, shutdown: &Shutdown) {
    let knows =
        |topic_id: &TopicId, at: PartitionOffset, key: &[u8]| knowledge.holds(topic_id, at, key);
    let take = |record: &Record, topic_id: &TopicId| knowledge.followed(record, topic_id);
    let forget = || knowledge.forget();
    follow(
        log,
        &knowledge.orders,
        shutdown,
        &Duty {
            knows: &knows,
            take: &take,
            forget: &forget,
            gather: GATHER_ORDERS,
        },
    );
}

/// Follows the topic of answers until a stop is requested: what was asked for here is heard.
pub fn follow_answers(log: &dyn EventLog, knowledge: &Knowledge, shutdown: &Shutdown) {
    let take = |record: &Record, _: &TopicId| knowledge.answered(record, Instant::now());
    // Answers given meanwhile were missed: whoever waits asks again.
    let forget = || knowledge.lookups.renew();
    follow(
        log,
        &knowledge.found,
        shutdown,
        &Duty {
            knows: &|_, _, _| false,
            take: &take,
            forget: &forget,
            // Somebody waits for each of them.
            gather: Duration::ZERO,
        },
    );
}

fn follow(log: &dyn EventLog, tail: &Tail, shutdown: &Shutdown, duty: &Duty<'_>) {
    let mut anew = true;
    while !shutdown.is_requested() {
        anew |= tail.take_command() == Some(Command::BeginAnew);
        let opened = open(log, tail, duty, &mut anew);
        let left = match opened {
            Ok(mut follower) => read(&mut *follower, tail, shutdown, duty),
            Err(error) => {
                report(tail, &error.to_string());
                Left::Resume
            }
        };
        match left {
            Left::Stopped => return,
            Left::Resume => {}
            Left::BeginAnew => anew = true,
        }
        shutdown.wait_timeout(RETRY);
    }
}

/// A follower at the positions of `tail`, or at the ends when it begins `anew`.
fn open(
    log: &dyn EventLog,
    tail: &Tail,
    duty: &Duty<'_>,
    anew: &mut bool,
) -> Result<Box<dyn Follower>, LogError> {
    if *anew {
        let ends = log.topic(&tail.topic)?;
        // The start is fixed before anything is forgotten, and it stays the start however often
        // opening fails below: nothing that enters from here on can be passed unseen.
        tail.begin(&ends, Instant::now());
        (duty.forget)();
        *anew = false;
    }
    log.follow(&tail.topic, &tail.positions(), duty.gather)
}

fn read(follower: &mut dyn Follower, tail: &Tail, shutdown: &Shutdown, duty: &Duty<'_>) -> Left {
    let mut topic_id = tail.topic_id();
    while !shutdown.is_requested() {
        match tail.take_command() {
            Some(Command::BeginAnew) => return Left::BeginAnew,
            Some(Command::Reassign) => {
                topic_id = tail.topic_id();
                if let Err(error) = follower.assign(&tail.positions()) {
                    report(tail, &error.to_string());
                    return Left::Resume;
                }
            }
            None => {}
        }
        let knows = |at: PartitionOffset, key: &[u8]| (duty.knows)(&topic_id, at, key);
        match follower.next(POLL, &knows) {
            Some(Followed::Known(at)) => tail.moved(at, Instant::now()),
            Some(Followed::Record(record)) => {
                // In this order: whoever sees the new position finds the record in the cache.
                (duty.take)(&record, &topic_id);
                tail.moved(record.at(), Instant::now());
            }
            Some(Followed::End(_)) | None => {}
            Some(Followed::Fault(fault)) => match fault {
                LogFault::Transient(why) => report(tail, &why),
                LogFault::Fatal(why) => {
                    report(tail, &why);
                    return Left::Resume;
                }
                // What lies between here and the end cannot be read or is another log's.
                LogFault::Reset(why) | LogFault::Corrupt(why) => {
                    report(tail, &why);
                    return Left::BeginAnew;
                }
            },
        }
    }
    Left::Stopped
}

/// Asks for the ends of both topics every second until a stop is requested, and drops lookups whose
/// time is over.
pub fn watch(log: &dyn EventLog, knowledge: &Knowledge, shutdown: &Shutdown) {
    let tails = [&knowledge.orders, &knowledge.found];
    loop {
        for tail in tails {
            ask(log, tail);
        }
        let now = Instant::now();
        knowledge.lookups.sweep(now);
        let is_well = tails.iter().all(|tail| tail.is_live(now));
        if shutdown.wait_timeout(if is_well { ASK } else { ASK_IN_DOUBT }) {
            return;
        }
    }
}

fn ask(log: &dyn EventLog, tail: &Tail) {
    // Before it began, its own thread asks.
    let Some(before) = tail.snapshot() else {
        return;
    };
    let asked_at = Instant::now();
    match log.topic(&tail.topic) {
        Ok(ends) => {
            for position in tail.asked(&before, ends, asked_at, Instant::now()) {
                look(log, tail, position);
            }
        }
        Err(error) => report(tail, &error.to_string()),
    }
    if tail.recovered() {
        info!("following topic `{}`", tail.topic);
    }
}

/// Looks what is at the position of a partition that stands still: nothing but marks, which are
/// passed, or a record that the client does not give.
fn look(log: &dyn EventLog, tail: &Tail, position: PartitionOffset) {
    match log.read_from(&tail.topic, position.partition, position.offset) {
        Ok(ReadBack::End(end)) => tail.passed(position, end, Instant::now()),
        Ok(ReadBack::Record(_)) => {
            if tail.stalled(position, Instant::now()) {
                let topic = &tail.topic;
                warn!(
                    %position, "the client does not read `{topic}` on, assigning again"
                );
            }
        }
        Err(error) => report(tail, &error.to_string()),
    }
}

/// One line when following ceases; `watch` says when it goes on.
fn report(tail: &Tail, why: &str) {
    if tail.troubled(why) {
        warn!("cannot follow topic `{}`, trying on: {why}", tail.topic);
    }
}
