//! Model test of the single flight: joins, replies, timeouts, GETs that leave, replies to other
//! requests. Time is passed in.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use support::replayable;

use super::*;
use crate::pipeline::lookup_protocol::LOOKUP_TTL;

const UIDS: [&str; 2] = ["a", "b"];

/// The correlation id of a reply.
#[derive(Clone, Copy, Debug)]
enum Under {
    Current,
    /// One that was sent before.
    Former,
    Unknown,
    Missing,
}

#[derive(Clone, Debug)]
enum Step {
    Join { live: bool, cached: bool },
    Resend,
    NotSent(Under),
    Acknowledged(Under),
    ReplyFound(Under),
    ReplyNotFound { under: Under, live: bool },
    Complete,
    Invalidate,
    Leave(usize),
    Renew,
    Expire,
    Pass(u64),
}

fn under() -> impl Strategy<Value = Under> {
    prop_oneof![
        6 => Just(Under::Current),
        2 => Just(Under::Former),
        1 => Just(Under::Unknown),
        1 => Just(Under::Missing),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let often = prop::bool::weighted(0.8);
    prop_oneof![
        12 => (often, prop::bool::weighted(0.1)).prop_map(|(live, cached)| Step::Join { live, cached }),
        3 => Just(Step::Resend),
        1 => under().prop_map(Step::NotSent),
        2 => under().prop_map(Step::Acknowledged),
        2 => under().prop_map(Step::ReplyFound),
        6 => (under(), often).prop_map(|(under, live)| Step::ReplyNotFound { under, live }),
        1 => Just(Step::Complete),
        1 => Just(Step::Invalidate),
        3 => (0..4_usize).prop_map(Step::Leave),
        1 => Just(Step::Renew),
        1 => Just(Step::Expire),
        3 => prop_oneof![0..100_u64, 400..600_u64, 900..1_100_u64, 29_000..31_000_u64]
            .prop_map(Step::Pass),
    ]
}

struct Waiter {
    completion: watch::Receiver<Option<Completion>>,
    /// It came after the request was sent.
    late: bool,
    since: usize,
}

#[derive(Default)]
struct Flight {
    /// Known from the moment it is sent.
    correlation_id: Option<Uuid>,
    sent_at: Option<Instant>,
    acknowledged: bool,
    waiters: Vec<Waiter>,
}

/// What is known of one uid.
#[derive(Default)]
struct Known {
    flight: Option<Flight>,
    until: Option<Instant>,
    /// The misses in the second that is counted, and its end.
    misses: Option<(u32, Instant)>,
    /// Whether the last miss is remembered.
    remembered: bool,
    former: Vec<Uuid>,
    /// The step in which a request was first sent, and in which the order last came.
    sent: HashMap<Uuid, usize>,
    came: usize,
}

struct World {
    lookups: Lookups,
    now: Instant,
    step: usize,
    known: Vec<Known>,
}

fn entry() -> Arc<Entry> {
    Arc::new(Entry::new(Bytes::from_static(b"{}"), None, None))
}

impl Known {
    fn misses(&self, now: Instant) -> u32 {
        match self.misses {
            Some((misses, until)) if now < until => misses,
            _ => 0,
        }
    }

    fn under(&self, under: Under) -> Option<Uuid> {
        let current = self.flight.as_ref().and_then(|it| it.correlation_id);
        match under {
            Under::Current => Some(current.unwrap_or_else(Uuid::new_v4)),
            Under::Former => Some(self.former.last().copied().unwrap_or_else(Uuid::new_v4)),
            Under::Unknown => Some(Uuid::new_v4()),
            Under::Missing => None,
        }
    }

    /// The GETs that wait; `None` without a lookup.
    fn waiters(&self) -> Option<&[Waiter]> {
        self.flight.as_ref().map(|flight| &*flight.waiters)
    }

    fn is_current(&self, correlation_id: Uuid) -> bool {
        let flight = self.flight.as_ref();
        flight.is_some_and(|flight| flight.correlation_id == Some(correlation_id))
    }

    /// Only replies to another request count from here on.
    fn renew(&mut self) {
        if let Some(flight) = &mut self.flight {
            self.former.extend(flight.correlation_id.take());
            flight.sent_at = None;
            flight.acknowledged = false;
        }
    }

    fn end(&mut self) -> Vec<Waiter> {
        let flight = self.flight.take().unwrap_or_default();
        self.former.extend(flight.correlation_id);
        flight.waiters
    }

    /// Compares what is to be sent with when it is due.
    fn sent(&mut self, to_send: Option<Uuid>, now: Instant, step: usize) {
        let flight = self.flight.as_mut().expect("a GET waits");
        let due = flight.sent_at.is_none_or(|at| now >= at + RESEND_INTERVAL);
        assert_eq!(to_send.is_some(), due, "whether a lookup is sent");
        let Some(id) = to_send else { return };
        assert!(!self.former.contains(&id), "an old request");
        assert!(flight.correlation_id.is_none_or(|known| known == id));
        flight.correlation_id = Some(id);
        flight.sent_at = Some(now);
        self.until = Some(now + LOOKUP_TTL);
        self.sent.entry(id).or_insert(step);
    }
}

fn assert_all_found(waiters: &[Waiter]) {
    for waiter in waiters {
        let completion = waiter.completion.borrow();
        assert!(!matches!(*completion, None | Some(Completion::NotFound(_))));
    }
}

impl World {
    fn take(&mut self, at: usize, step: &Step) {
        let (uid, now) = (UIDS[at], self.now);
        let known = &mut self.known[at];
        match *step {
            Step::Join { live, cached } => self.join(at, live, cached),
            Step::Resend => {
                let to_send = self.lookups.resend(uid, now);
                if known.flight.is_some() {
                    known.sent(to_send, now, self.step);
                } else {
                    assert_eq!(to_send, None);
                }
            }
            Step::NotSent(under) => self.not_sent(at, under),
            Step::Acknowledged(under) => {
                if let Some(correlation_id) = known.under(under) {
                    self.lookups.acknowledged(uid, correlation_id);
                    if known.is_current(correlation_id) {
                        known.flight.as_mut().expect("it is there").acknowledged = true;
                    }
                }
            }
            Step::ReplyFound(under) => self.reply_found(at, under),
            Step::ReplyNotFound { under, live } => self.reply_not_found(at, under, live),
            Step::Complete => {
                self.lookups.complete(uid, &entry());
                assert_all_found(&known.end());
                (known.misses, known.remembered, known.came) = (None, false, self.step);
            }
            Step::Invalidate => {
                self.lookups.invalidate(uid);
                known.renew();
                known.came = self.step;
                if known.flight.is_none() {
                    (known.misses, known.remembered) = (None, false);
                }
            }
            Step::Leave(which) => {
                if let Some(flight) = &mut known.flight
                    && which < flight.waiters.len()
                {
                    flight.waiters.remove(which);
                }
            }
            Step::Renew => {
                self.lookups.renew();
                for known in &mut self.known {
                    known.renew();
                    if known.flight.is_none() {
                        (known.misses, known.remembered) = (None, false);
                    }
                    known.came = self.step;
                }
            }
            Step::Expire => self.expire(),
            Step::Pass(ms) => self.now += Duration::from_millis(ms),
        }
    }

    fn join(&mut self, at: usize, live: bool, cached: bool) {
        let (now, known) = (self.now, &mut self.known[at]);
        let joined = self
            .lookups
            .join(UIDS[at], now, live, || cached.then(entry));
        let is_remembered = known.remembered && live && known.misses(now) >= MISSES_LOOKED_UP;
        match joined {
            Joined::Found(_) => assert!(cached, "nothing is cached"),
            Joined::NotFound(_) => {
                assert!(!cached && known.flight.is_none() && is_remembered);
            }
            Joined::Full => panic!("the bounds are not reached"),
            Joined::Waiting(handle) => {
                assert!(!cached && (known.flight.is_some() || !is_remembered));
                known.remembered = false;
                if known.flight.is_none() && known.misses(now) == 0 {
                    known.misses = Some((0, now + NOT_FOUND_TTL));
                }
                let flight = known.flight.get_or_insert_default();
                flight.waiters.push(Waiter {
                    completion: handle.completion,
                    late: flight.sent_at.is_some(),
                    since: self.step,
                });
                known.sent(handle.to_send, now, self.step);
            }
        }
    }

    fn not_sent(&mut self, at: usize, under: Under) {
        let known = &mut self.known[at];
        let Some(correlation_id) = known.under(under) else {
            return;
        };
        self.lookups.not_sent(UIDS[at], correlation_id);
        let is_open = known.flight.as_ref().is_some_and(|it| !it.acknowledged);
        if known.is_current(correlation_id) && is_open {
            known.renew();
            if known.waiters().is_some_and(|waiters| waiters.len() <= 1) {
                // The GET that could not send it knows from its own call.
                known.end();
                known.misses = None;
            }
        }
    }

    fn reply_found(&mut self, at: usize, under: Under) {
        let known = &mut self.known[at];
        let Some(correlation_id) = known.under(under) else {
            self.reply_unverified(at);
            return;
        };
        let counts = known.is_current(correlation_id);
        let counted = self.lookups.reply_found(UIDS[at], correlation_id, entry);
        assert_eq!(counted, counts, "a reply to another request");
        if counts {
            assert_all_found(&known.end());
            known.misses = None;
        }
    }

    fn reply_unverified(&mut self, at: usize) {
        let known = &mut self.known[at];
        let counts = known.waiters().is_some_and(|waiters| !waiters.is_empty());
        let counted = self.lookups.reply_unverified(UIDS[at], entry());
        assert_eq!(counted, counts, "whether a GET waits");
        if counts {
            assert_all_found(&known.end());
            known.misses = None;
        }
    }

    fn reply_not_found(&mut self, at: usize, under: Under, live: bool) {
        let (now, known) = (self.now, &mut self.known[at]);
        let Some(correlation_id) = known.under(under) else {
            return;
        };
        let counts = known.is_current(correlation_id);
        let (uid, not_found) = (UIDS[at], NotFound::default());
        let lookups = &self.lookups;
        let counted = lookups.reply_not_found(uid, correlation_id, not_found, live, now);
        assert_eq!(counted, counts, "a reply to another request");
        if !counts {
            return;
        }
        let misses = known.misses(now) + 1;
        let until = match known.misses {
            Some((_, until)) if now < until => until,
            _ => now + NOT_FOUND_TTL,
        };
        known.misses = Some((misses, until));
        let is_flooded = live && misses >= MISSES_LOOKED_UP;
        let sent = known.sent[&correlation_id];
        assert!(sent >= known.came, "the order has come since it was sent");
        let waiters = known.end();
        let is_to_wait = |waiter: &Waiter| waiter.late && !is_flooded;
        let (late, completed): (Vec<_>, Vec<_>) = waiters.into_iter().partition(is_to_wait);
        for waiter in &completed {
            let completion = waiter.completion.borrow();
            assert!(matches!(*completion, Some(Completion::NotFound(_))));
            let is_early = waiter.since <= sent;
            assert!(
                is_flooded || is_early,
                "its request was sent before it came"
            );
        }
        known.remembered = late.is_empty();
        if !late.is_empty() {
            let waiters = late.into_iter().map(|it| Waiter { late: false, ..it });
            known.flight = Some(Flight {
                waiters: waiters.collect(),
                ..Flight::default()
            });
        }
    }

    fn expire(&mut self) {
        self.lookups.expire(self.now);
        for known in &mut self.known {
            let is_expired = known.until.is_none_or(|until| self.now >= until);
            if is_expired && known.waiters().is_some_and(<[Waiter]>::is_empty) {
                known.end();
                known.misses = None;
            }
        }
    }

    fn check(&self) {
        let flights = self.known.iter().filter(|known| known.flight.is_some());
        assert_eq!(self.lookups.pending(), flights.count());
        for (known, uid) in self.known.iter().zip(UIDS) {
            let queued = known.flight.as_ref().is_some_and(|it| it.acknowledged);
            assert_eq!(self.lookups.is_queued(uid), queued);
            for waiter in known.flight.iter().flat_map(|flight| &flight.waiters) {
                assert!(waiter.completion.borrow().is_none(), "completed too early");
                assert!(waiter.completion.has_changed().is_ok(), "never completed");
            }
        }
    }
}

#[test]
fn every_get_is_completed_once_and_never_with_a_miss_older_than_what_is_known() {
    replayable::check(3_000, vec((0..UIDS.len(), step()), 1..80), |steps| {
        let mut world = World {
            lookups: Lookups::default(),
            now: Instant::now(),
            step: 1,
            known: UIDS.iter().map(|_| Known::default()).collect(),
        };
        for (at, step) in steps {
            world.step += 1;
            world.take(at, &step);
            world.check();
        }
        // When every GET has left and every lookup has expired, nothing is kept.
        for known in &mut world.known {
            if let Some(flight) = &mut known.flight {
                flight.waiters.clear();
            }
        }
        world.now += 2 * LOOKUP_TTL;
        world.expire();
        assert_eq!(world.lookups.pending(), 0);
    });
}
