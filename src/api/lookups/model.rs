//! The single flight against a map of who waits for what: joins, answers, time-outs, waiters that
//! leave, answers that nobody asked for. Time is passed in.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::pipeline::lookup_protocol::LOOKUP_TTL;
use crate::replayable;

const UIDS: [&str; 2] = ["a", "b"];

/// Under which correlation id an answer comes.
#[derive(Clone, Copy, Debug)]
enum Under {
    Current,
    /// One that was asked under before.
    Former,
    Unknown,
    /// It does not say.
    Nothing,
}

#[derive(Clone, Debug)]
enum Step {
    Join { live: bool, cached: bool },
    AskAgain,
    NotSent(Under),
    Acknowledged(Under),
    Found(Under),
    Absent { under: Under, live: bool },
    Arrived,
    Doubt,
    Leave(usize),
    Renew,
    Sweep,
    Pass(u64),
}

fn under() -> impl Strategy<Value = Under> {
    prop_oneof![
        6 => Just(Under::Current),
        2 => Just(Under::Former),
        1 => Just(Under::Unknown),
        1 => Just(Under::Nothing),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let often = prop::bool::weighted(0.8);
    prop_oneof![
        12 => (often, prop::bool::weighted(0.1)).prop_map(|(live, cached)| Step::Join { live, cached }),
        3 => Just(Step::AskAgain),
        1 => under().prop_map(Step::NotSent),
        2 => under().prop_map(Step::Acknowledged),
        2 => under().prop_map(Step::Found),
        6 => (under(), often).prop_map(|(under, live)| Step::Absent { under, live }),
        1 => Just(Step::Arrived),
        1 => Just(Step::Doubt),
        3 => (0..4_usize).prop_map(Step::Leave),
        1 => Just(Step::Renew),
        1 => Just(Step::Sweep),
        3 => prop_oneof![0..100_u64, 400..600_u64, 900..1_100_u64, 29_000..31_000_u64]
            .prop_map(Step::Pass),
    ]
}

struct Waiter {
    answer: watch::Receiver<Option<Answer>>,
    /// It came after the question was sent.
    late: bool,
    since: usize,
}

#[derive(Default)]
struct Flight {
    /// Known from the moment it is asked on.
    correlation: Option<Uuid>,
    asked_at: Option<Instant>,
    acknowledged: bool,
    waiters: Vec<Waiter>,
}

/// What is known of one uid.
#[derive(Default)]
struct Known {
    flight: Option<Flight>,
    until: Option<Instant>,
    /// How many noes came in the second that is counted, and when it is over.
    misses: Option<(u32, Instant)>,
    /// Whether the last no is remembered.
    remembered: bool,
    former: Vec<Uuid>,
    /// In which step a question was first sent, and in which the order last came.
    asked: HashMap<Uuid, usize>,
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
        let current = self.flight.as_ref().and_then(|flight| flight.correlation);
        match under {
            Under::Current => Some(current.unwrap_or_else(Uuid::new_v4)),
            Under::Former => Some(self.former.last().copied().unwrap_or_else(Uuid::new_v4)),
            Under::Unknown => Some(Uuid::new_v4()),
            Under::Nothing => None,
        }
    }

    fn is_current(&self, correlation: Uuid) -> bool {
        let flight = self.flight.as_ref();
        flight.is_some_and(|flight| flight.correlation == Some(correlation))
    }

    /// Only another question counts from here on.
    fn renew(&mut self) {
        if let Some(flight) = &mut self.flight {
            self.former.extend(flight.correlation.take());
            flight.asked_at = None;
            flight.acknowledged = false;
        }
    }

    fn end(&mut self) -> Vec<Waiter> {
        let flight = self.flight.take().unwrap_or_default();
        self.former.extend(flight.correlation);
        flight.waiters
    }

    /// What was sent, as the lookups say; compared with when it was due.
    fn asked(&mut self, asked: Option<Uuid>, now: Instant, step: usize) {
        let flight = self.flight.as_mut().expect("somebody waits");
        let due = flight.asked_at.is_none_or(|at| now >= at + ASK_AGAIN);
        assert_eq!(asked.is_some(), due, "whether a lookup is sent");
        let Some(correlation) = asked else { return };
        assert!(!self.former.contains(&correlation), "an old question");
        assert!(flight.correlation.is_none_or(|known| known == correlation));
        flight.correlation = Some(correlation);
        flight.asked_at = Some(now);
        self.until = Some(now + LOOKUP_TTL);
        self.asked.entry(correlation).or_insert(step);
    }
}

fn are_told_found(waiters: &[Waiter]) {
    for waiter in waiters {
        assert!(matches!(*waiter.answer.borrow(), Some(Answer::Found(_))));
    }
}

impl World {
    fn take(&mut self, at: usize, step: &Step) {
        let (uid, now) = (UIDS[at], self.now);
        let known = &mut self.known[at];
        match *step {
            Step::Join { live, cached } => self.join(at, live, cached),
            Step::AskAgain => {
                let asked = self.lookups.ask_again(uid, now);
                if known.flight.is_some() {
                    known.asked(asked, now, self.step);
                } else {
                    assert_eq!(asked, None);
                }
            }
            Step::NotSent(under) => self.not_sent(at, under),
            Step::Acknowledged(under) => {
                if let Some(correlation) = known.under(under) {
                    self.lookups.acknowledged(uid, correlation);
                    if known.is_current(correlation) {
                        known.flight.as_mut().expect("it is there").acknowledged = true;
                    }
                }
            }
            Step::Found(under) => self.found(at, under),
            Step::Absent { under, live } => self.absent(at, under, live),
            Step::Arrived => {
                self.lookups.arrived(uid, &entry());
                are_told_found(&known.end());
                (known.misses, known.remembered, known.came) = (None, false, self.step);
            }
            Step::Doubt => {
                self.lookups.doubt(uid);
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
            Step::Sweep => self.sweep(),
            Step::Pass(ms) => self.now += Duration::from_millis(ms),
        }
    }

    fn join(&mut self, at: usize, live: bool, cached: bool) {
        let (now, known) = (self.now, &mut self.known[at]);
        let joined = self
            .lookups
            .join(UIDS[at], now, live, || cached.then(entry));
        let is_remembered = known.remembered && live && known.misses(now) >= ASKED_ANEW;
        match joined {
            Joined::Found(_) => assert!(cached, "nothing is cached"),
            Joined::Absent(_) => {
                assert!(!cached && known.flight.is_none() && is_remembered);
            }
            Joined::Full => panic!("there is room"),
            Joined::Waiting { answer, ask } => {
                assert!(!cached && (known.flight.is_some() || !is_remembered));
                known.remembered = false;
                if known.flight.is_none() && known.misses(now) == 0 {
                    known.misses = Some((0, now + ABSENT_TTL));
                }
                let flight = known.flight.get_or_insert_default();
                flight.waiters.push(Waiter {
                    answer,
                    late: flight.asked_at.is_some(),
                    since: self.step,
                });
                known.asked(ask, now, self.step);
            }
        }
    }

    fn not_sent(&mut self, at: usize, under: Under) {
        let known = &mut self.known[at];
        let Some(correlation) = known.under(under) else {
            return;
        };
        self.lookups.not_sent(UIDS[at], correlation);
        let is_open = known.flight.as_ref().is_some_and(|it| !it.acknowledged);
        if known.is_current(correlation) && is_open {
            known.renew();
            if known
                .flight
                .as_ref()
                .is_some_and(|it| it.waiters.len() <= 1)
            {
                // The one who could not send it is told so by its own call.
                known.end();
                known.misses = None;
            }
        }
    }

    fn found(&mut self, at: usize, under: Under) {
        let known = &mut self.known[at];
        let correlation = known.under(under);
        let counts = match correlation {
            Some(correlation) => known.is_current(correlation),
            None => known.flight.is_some(),
        };
        let mut kept = false;
        let keep = || {
            kept = true;
            entry()
        };
        let counted = self.lookups.found(UIDS[at], correlation, keep);
        assert_eq!((counted, kept), (counts, counts), "what nobody asked for");
        if counts {
            are_told_found(&known.end());
            known.misses = None;
        }
    }

    fn absent(&mut self, at: usize, under: Under, live: bool) {
        let (now, known) = (self.now, &mut self.known[at]);
        let Some(correlation) = known.under(under) else {
            return;
        };
        let counts = known.is_current(correlation);
        let not_found = NotFound {
            dead_lettered: None,
        };
        let counted = self
            .lookups
            .absent(UIDS[at], correlation, not_found, live, now);
        assert_eq!(counted, counts, "a no that nobody asked for");
        if !counts {
            return;
        }
        let misses = known.misses(now) + 1;
        let until = match known.misses {
            Some((_, until)) if now < until => until,
            _ => now + ABSENT_TTL,
        };
        known.misses = Some((misses, until));
        let hammered = live && misses >= ASKED_ANEW;
        let asked = known.asked[&correlation];
        assert!(asked >= known.came, "the order has come since it was asked");
        let waiters = known.end();
        let is_to_wait = |waiter: &Waiter| waiter.late && !hammered;
        let (late, told): (Vec<_>, Vec<_>) = waiters.into_iter().partition(is_to_wait);
        for waiter in &told {
            assert!(matches!(*waiter.answer.borrow(), Some(Answer::Absent(_))));
            assert!(
                hammered || waiter.since <= asked,
                "its question came before it"
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

    fn sweep(&mut self) {
        self.lookups.sweep(self.now);
        for known in &mut self.known {
            let is_over = known.until.is_none_or(|until| self.now >= until);
            if is_over
                && known
                    .flight
                    .as_ref()
                    .is_some_and(|it| it.waiters.is_empty())
            {
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
                assert!(waiter.answer.borrow().is_none(), "it was not to be told");
                assert!(waiter.answer.has_changed().is_ok(), "nobody will tell it");
            }
        }
    }
}

#[test]
fn whoever_waits_is_told_once_and_never_a_no_that_is_older_than_what_is_known() {
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
        // When all have gone and the time is over, nothing is kept.
        for known in &mut world.known {
            if let Some(flight) = &mut known.flight {
                flight.waiters.clear();
            }
        }
        world.now += 2 * LOOKUP_TTL;
        world.sweep();
        assert_eq!(world.lookups.pending(), 0);
    });
}
