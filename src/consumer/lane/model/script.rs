//! What may happen in the model, as proptest generates it.

use proptest::collection::vec;
use proptest::prelude::*;

/// What is appended.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Good(u8),
    /// Valid, and refused by the database.
    Refused(u8),
    Poison,
    Tombstone,
    /// No record: a transaction marker.
    Marker,
}

/// How a call to the store may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFailure {
    /// Nothing was done.
    Unavailable,
    Contended,
    Misconfigured,
    /// The whole batch is refused, although none of its records is the cause.
    Rejected,
    /// It was done, and the answer was lost.
    AnswerLost,
    /// It was done, and the process died before the answer came.
    KilledAfter,
}

/// How a call to the log may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFailure {
    Transient,
    Reset,
    /// The client moves past a corrupt batch.
    Corrupt,
    Fatal,
    /// The client moves past a record without an error.
    Skipped,
    Unavailable,
    /// No client can read what is asked for.
    Unreadable,
    Missing,
}

#[derive(Clone, Debug)]
pub enum Event {
    Append(Vec<Kind>),
    /// Begins a transaction or ends the open one.
    Transaction {
        commit: bool,
    },
    Compact(u8),
    Retain(u8),
    /// The log loses its newest records, and others take their place.
    Cut(u8, Vec<Kind>),
    Recreate(Vec<Kind>),
    Store(StoreFailure),
    Log(LogFailure),
    /// All calls fail for that many moments.
    DatabaseAway(u8),
    LogAway(u8),
    /// The database is what it was that many commits ago.
    Restore(u8),
    /// An operator moves the position back.
    Rewind(u8),
    /// The database starts to refuse some orders, or stops doing so.
    Refuse(bool),
    Killed,
    /// The group moves the partition: the lane is asked to exit.
    Stopped,
    /// Another process acquires the partition before the call under way is done, works for that many
    /// moments and leaves; then the call is done.
    TakenOver(u8),
    /// From now on the log delivers at most so many records at a time.
    Limit(u8),
}

/// Events, each after so many further moments.
pub type Script = Vec<(u8, Event)>;

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        12 => (0_u8..4).prop_map(Kind::Good),
        2 => (0_u8..4).prop_map(Kind::Refused),
        1 => Just(Kind::Poison),
        1 => Just(Kind::Tombstone),
        2 => Just(Kind::Marker),
    ]
}

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    vec(kind(), 0..8)
}

fn store_failure() -> impl Strategy<Value = Event> {
    prop::sample::select(vec![
        StoreFailure::Unavailable,
        StoreFailure::Contended,
        StoreFailure::Misconfigured,
        StoreFailure::Rejected,
        StoreFailure::AnswerLost,
        StoreFailure::KilledAfter,
    ])
    .prop_map(Event::Store)
}

fn log_failure() -> impl Strategy<Value = Event> {
    prop::sample::select(vec![
        LogFailure::Transient,
        LogFailure::Reset,
        LogFailure::Corrupt,
        LogFailure::Fatal,
        LogFailure::Skipped,
        LogFailure::Unavailable,
        LogFailure::Unreadable,
        LogFailure::Missing,
    ])
    .prop_map(Event::Log)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => kinds().prop_map(Event::Append),
        // Enough good ones that a single refusal is no schema problem.
        1 => (0_u8..4).prop_map(|uid| {
            let mut kinds: Vec<Kind> = (0..45).map(Kind::Good).collect();
            kinds.insert(20, Kind::Refused(uid));
            Event::Append(kinds)
        }),
        2 => any::<bool>().prop_map(|commit| Event::Transaction { commit }),
        2 => (0_u8..20).prop_map(Event::Compact),
        1 => (1_u8..6).prop_map(Event::Retain),
        1 => (1_u8..8, kinds()).prop_map(|(records, kinds)| Event::Cut(records, kinds)),
        1 => kinds().prop_map(Event::Recreate),
        6 => store_failure(),
        4 => log_failure(),
        1 => (1_u8..12).prop_map(Event::DatabaseAway),
        1 => (1_u8..12).prop_map(Event::LogAway),
        1 => (1_u8..4).prop_map(Event::Restore),
        1 => (1_u8..6).prop_map(Event::Rewind),
        2 => any::<bool>().prop_map(Event::Refuse),
        3 => Just(Event::Killed),
        2 => Just(Event::Stopped),
        3 => (1_u8..40).prop_map(Event::TakenOver),
        3 => (1_u8..8).prop_map(Event::Limit),
    ]
}

pub fn script() -> impl Strategy<Value = Script> {
    let moments = prop_oneof![3 => 0_u8..3, 2 => 0_u8..12, 1 => 0_u8..60];
    vec((moments, event()), 1..30)
}
