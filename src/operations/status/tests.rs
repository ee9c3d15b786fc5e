//! Each incident has its line, and the command that repairs it.

use super::*;
use crate::operations::lag::Partition;

fn lag(records: Option<i64>, oldest_s: u64, state: PartitionState) -> Lag {
    Lag {
        topic: "orders".into(),
        partitions: vec![Partition {
            partition: 3,
            position: Some(0),
            end: 9,
            lag: records,
            oldest_waiting: Some(Duration::from_secs(oldest_s)),
            owner: None,
            state,
        }],
        no_positions: None,
        warnings: Vec::new(),
    }
}

fn line(part: &Part) -> String {
    let fix = part.fix.clone().map(|fix| format!(" → {fix}"));
    format!("{} {}{}", part.state, part.detail, fix.unwrap_or_default())
}

#[test]
fn a_consumer_is_healthy_when_it_is_there_and_nothing_waits_for_long() {
    let of = |readers: Readers, lag, failing: &[String]| {
        line(&consumer("g", &readers, &Ok(lag), failing))
    };
    let members = |count| Readers::Members(Ok(count));
    let behind = |records, oldest_s| lag(Some(records), oldest_s, PartitionState::Behind);
    let lines = [
        of(members(2), behind(0, 0), &[]),
        of(members(1), behind(1, 60), &[]),
        of(members(1), behind(7, 61), &[]),
        of(members(0), behind(7, 720), &[]),
        of(Readers::Process(None), behind(0, 0), &[]),
        of(
            Readers::Process(Some(5)),
            lag(None, 0, PartitionState::Unknown),
            &[],
        ),
        of(
            Readers::Members(Err("did not answer".into())),
            behind(0, 0),
            &[],
        ),
        of(members(1), behind(0, 0), &["database: away".into()]),
    ];
    let expected = [
        "ok 2 members in group `g`; nothing waits",
        "ok 1 member in group `g`; 1 order waits, the oldest for 1 min",
        "warn 1 member in group `g`; 7 orders wait, the oldest for 1 min → orders lag",
        "FAIL no member in group `g`; 7 orders wait, the oldest for 12 min → orders consume",
        "FAIL no process reads the log; nothing waits → orders consume",
        "warn process 5; how many orders wait is not known → orders lag",
        "warn group `g`: did not answer; nothing waits → orders lag",
        "FAIL 1 member in group `g`; nothing waits; database: away → orders lag",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_database_is_healthy_when_no_migration_is_pending() {
    let of = |schema| {
        let answer = Ok(Database {
            version: "PostgreSQL 15.20".into(),
            migrations: 3,
            schema,
            files: None,
        });
        line(&database("db", &answer))
    };
    assert_eq!(
        of(SchemaState::Current),
        "ok db, PostgreSQL 15.20, 3 migrations, none pending"
    );
    assert_eq!(
        of(SchemaState::Pending(1)),
        "FAIL db, PostgreSQL 15.20, 3 migrations, 1 pending → orders migrate"
    );
    let away = line(&database("db", &Err("did not answer within 800 ms".into())));
    assert!(
        away.starts_with("FAIL db did not answer within 800 ms → "),
        "{away}"
    );
}

#[test]
fn a_full_disk_fails_the_engine_on_it() {
    let files = |shortage: Option<&str>| Files {
        free_bytes: 12 << 30,
        wal_bytes: 3 << 19,
        shortage: shortage.map(str::to_owned),
    };
    let log_of = |files: Files| {
        let answer = Ok(Log {
            description: "folder `d`".into(),
            topics: vec![("a".into(), 1), ("b".into(), 1), ("c".into(), 1)],
            differences: Vec::new(),
            files: Some(files),
        });
        line(&log("the log", &answer))
    };
    let expected =
        "ok folder `d`, topics `a` (1), `b` (1), `c` (1) as declared, WAL 1.5 MiB, 12.0 GiB free";
    assert_eq!(log_of(files(None)), expected);
    assert_eq!(
        log_of(files(Some("no room"))),
        "FAIL no room → make room on the disk"
    );
}

#[test]
fn topics_that_are_missing_fail_and_those_that_differ_warn() {
    let of = |topics: &[&str], difference: &str| {
        let answer = Ok(Log {
            description: "3 brokers".into(),
            topics: topics.iter().map(|name| ((*name).to_owned(), 1)).collect(),
            differences: vec![difference.into()],
            files: None,
        });
        line(&log("Kafka", &answer))
    };
    assert_eq!(
        of(&["a", "b"], "topic `c` is missing"),
        "FAIL 3 brokers; topic `c` is missing → orders create-topics"
    );
    assert_eq!(
        of(&["a", "b", "c"], "topic `c` differs"),
        "warn 3 brokers; topic `c` differs → orders create-topics --check"
    );
}

#[test]
fn dead_letters_and_gaps_wait_for_an_operator() {
    let now_us = 600_000_000;
    let newest = Timestamp(Some(now_us - 240_000_000));
    let open = line(&dead_letters(
        &Ok((48, newest)),
        &of_schema(SchemaState::Current),
        now_us,
    ));
    assert_eq!(
        open,
        "warn 48 open, the newest 4 min old → orders dead-letters"
    );
    assert_eq!(
        line(&dead_letters(
            &Ok((0, Timestamp(None))),
            &of_schema(SchemaState::Current),
            now_us
        )),
        "ok none open"
    );

    let no_table = Err("failed: there is no such table".into());
    assert_eq!(
        line(&dead_letters(
            &no_table,
            &of_schema(SchemaState::Pending(4)),
            now_us
        )),
        "warn not known: 4 migrations pending → orders migrate"
    );

    let stopped = Ok(lag(Some(7), 0, PartitionState::Gap));
    assert_eq!(
        line(&gaps(&stopped, &Err(String::new()))),
        "FAIL partition 3 of `orders`: records were deleted before they were read → orders gaps"
    );
    let current: Answer<Lag> = Ok(lag(Some(0), 0, PartitionState::Current));
    assert_eq!(
        line(&gaps(&current, &Err(String::new()))),
        "ok none that wait for a decision"
    );
    let away = current.map(|lag| Lag {
        no_positions: Some("is away".into()),
        ..lag
    });
    let unknown = line(&gaps(&away, &Err(String::new())));
    assert!(
        unknown.starts_with("warn not known: the database is away → "),
        "{unknown}"
    );
    let no_topics = Ok(Log {
        description: String::new(),
        topics: Vec::new(),
        differences: Vec::new(),
        files: None,
    });
    assert_eq!(
        line(&gaps(&Err("failed: no topic".into()), &no_topics)),
        "warn not known: topics are missing → orders create-topics"
    );
}

/// What a database says whose schema is in this state.
fn of_schema(schema: SchemaState) -> Answer<Database> {
    Ok(Database {
        version: String::new(),
        migrations: 0,
        schema,
        files: None,
    })
}

#[test]
fn a_warning_is_healthy_and_a_failure_is_not() {
    let part = |state| Part::new("gaps", state, "");
    assert!(is_healthy(&[part(State::Ok), part(State::Warn)]));
    assert!(!is_healthy(&[part(State::Ok), part(State::Fail)]));
}
