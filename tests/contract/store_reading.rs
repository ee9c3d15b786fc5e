//! What every store returns of what it holds.

use std::ops::ControlFlow;

use bytes::Bytes;
use orders::order::{Item, Order, Timestamp};
use orders::store::{DeadLetter, LookupResult};
use support::for_each_engine;

use crate::contract::owner::{LOG, dead, sourced};
use crate::contract::stores::Database;

for_each_engine! {
    [
        postgres => super::Database::postgres(),
        sqlite => super::Database::sqlite(),
    ]
    [
        a_lookup_tells_stored_dead_lettered_and_absent_orders_apart,
        only_open_dead_letters_are_looked_up_counted_and_exported,
        the_latest_orders_have_their_positions,
        the_latest_orders_come_newest_first_and_only_as_many_as_are_wanted,
        a_snapshot_has_everything_of_one_moment_and_nothing_later,
        a_snapshot_has_dead_letters_as_they_are_stored,
    ]
}

fn a_lookup_tells_stored_dead_lettered_and_absent_orders_apart(subject: &Database) {
    let mut owner = subject.owner();
    let mut batch = owner.batch(vec![sourced("a", 1, 1, 1)]);
    batch.end = 3;
    let of_key = DeadLetter {
        key: Some(Bytes::from_static(b"k")),
        reason: "is empty".into(),
        ..dead(2, None)
    };
    batch.dead_letters = vec![dead(0, Some("d")), of_key];
    owner.apply(&batch).expect("the batch is stored");
    let found = owner
        .store
        .lookup(LOG, &["absent", "a", "d", "k"])
        .expect("the store responds");
    assert!(matches!(found.results[0], LookupResult::Absent));
    assert!(matches!(found.results[1], LookupResult::Stored(_)));
    for (at, expected) in [
        (2, ("orders/0/0", "it is not JSON")),
        (3, ("orders/0/2", "is empty")),
    ] {
        let LookupResult::DeadLettered { location, reason } = &found.results[at] else {
            panic!("{:?}", found.results[at])
        };
        assert_eq!((&**location, &**reason), expected);
    }
    assert_eq!(found.positions.len(), 1);
    assert_eq!(found.positions[0].next_offset, 3);
}

fn only_open_dead_letters_are_looked_up_counted_and_exported(subject: &Database) {
    let mut owner = subject.owner();
    let mut batch = owner.batch(vec![sourced("a", 1, 3, 1)]);
    let key = |key: &'static str| Some(Bytes::from_static(key.as_bytes()));
    batch.dead_letters = (0..3)
        .map(|offset| DeadLetter {
            key: key("k"),
            ..dead(offset, Some("d"))
        })
        .collect();
    owner.apply(&batch).expect("the batch is stored");
    let mut location = |resolved: &str| {
        let resolve = "UPDATE dead_letters SET resolution = 'discarded' WHERE \"offset\" IN";
        subject.db().run(&format!("{resolve} ({resolved})"));
        let found = owner.store.lookup(LOG, &["d", "k"]);
        let found = found.expect("the store responds").results;
        [0, 1].map(|at| match &found[at] {
            LookupResult::DeadLettered { location, .. } => location.clone(),
            LookupResult::Absent => "absent".to_owned(),
            LookupResult::Stored(_) => panic!("it is not stored"),
        })
    };
    assert_eq!(location("2"), ["orders/0/1", "orders/0/1"]);
    let mut snapshot = subject.engine.snapshot().expect("a snapshot can be made");
    assert_eq!(snapshot.counts().expect("the store responds"), (1, 2));
    let mut offsets = Vec::new();
    let visited = snapshot.for_each_dead_letter(&mut |letter| {
        offsets.push(letter.offset);
        ControlFlow::Continue(())
    });
    visited.expect("the store responds");
    assert_eq!(offsets, [0, 1]);
    drop(snapshot);
    assert_eq!(location("0, 1"), ["absent", "absent"]);
}

fn the_latest_orders_have_their_positions(subject: &Database) {
    let mut owner = subject.owner();
    for number in 0..5 {
        owner.apply_orders(vec![sourced(&format!("uid-{number}"), 1, number, number)]);
    }
    let mut latest = Vec::new();
    let positions = owner.store.latest(LOG, 3, &mut |stored| {
        latest.push(stored);
        ControlFlow::Continue(())
    });
    assert_eq!(positions.expect("the store responds")[0].next_offset, 5);
    assert_eq!(latest.len(), 3);
    assert!(latest.iter().all(|stored| stored.version().is_some()));
}

/// More than a page of PostgreSQL's, with one to three items each; the newest has the highest number.
fn the_latest_orders_come_newest_first_and_only_as_many_as_are_wanted(subject: &Database) {
    const ORDERS: i64 = 600;
    let mut owner = subject.owner();
    let order = |number: i64| {
        let mut sourced = sourced(&format!("uid-{}", number * 7 % ORDERS), 1, number, number);
        sourced.order.date_created = Timestamp::from_micros(number * 1_000_000);
        let first = sourced.order.items[0].clone();
        let item = |chrt_id| Item {
            chrt_id,
            ..first.clone()
        };
        sourced.order.items = (0..=number % 3).map(item).collect();
        sourced
    };
    owner.apply_orders((0..ORDERS).map(order).collect());
    for wanted in [1, 250, 251, 600, 601] {
        let mut latest = Vec::new();
        let positions = owner.store.latest(LOG, 1_000, &mut |stored| {
            latest.push(stored.order);
            match latest.len() == wanted {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        assert_eq!(
            positions.expect("the store responds")[0].next_offset,
            ORDERS
        );
        let expected = (0..ORDERS).rev().take(wanted);
        let expected: Vec<Order> = expected.map(|number| order(number).order).collect();
        assert!(latest == expected, "{wanted}: {} orders", latest.len());
    }
}

/// More orders than two pages of PostgreSQL's hold, in an order that is not that of their uids; one
/// has more items than are passed on at once, one has none.
fn a_snapshot_has_everything_of_one_moment_and_nothing_later(subject: &Database) {
    let mut owner = subject.owner();
    let order = |number: i64| {
        let version = u32::try_from(number % 4).expect("it is small");
        let uid = format!("uid-{:04}", number * 7 % 1100);
        let mut sourced = sourced(&uid, version, number, number);
        let items = &mut sourced.order.items;
        match number {
            500 => {
                let first = items[0].clone();
                let item = |id| Item {
                    chrt_id: id,
                    name: "long".repeat(500),
                    ..first.clone()
                };
                items.extend((0..900).map(item));
            }
            501 => items.clear(),
            _ => {}
        }
        sourced
    };
    for start in [0, 550] {
        let orders = (start..start + 550).map(order);
        owner.apply_orders(orders.collect());
    }
    subject
        .db()
        .run("INSERT INTO orders (order_uid) VALUES ('zz-nulls')");
    let mut snapshot = subject.engine.snapshot().expect("a snapshot can be made");
    // No writer waits for a snapshot.
    owner.apply_orders(vec![sourced("uid-0000", 9, 1100, 2000)]);

    assert_eq!(snapshot.counts().expect("the store responds"), (1101, 0));
    let positions = snapshot.positions(LOG).expect("the store responds");
    let [position] = &positions[..] else {
        panic!("{positions:?}")
    };
    assert_eq!((position.epoch, position.next_offset), (1, 1100));
    assert_eq!(snapshot.positions("other").expect("the store responds"), []);
    let mut expected: Vec<Order> = (0..1100).map(|number| order(number).order).collect();
    expected.sort_by(|one, other| one.order_uid.cmp(&other.order_uid));
    expected.push(Order {
        order_uid: "zz-nulls".into(),
        ..Order::default()
    });
    let mut orders = Vec::new();
    let visited = snapshot.for_each_order(&mut |order| {
        orders.push(order);
        ControlFlow::Continue(())
    });
    visited.expect("the store responds");
    assert_eq!(orders.len(), expected.len());
    let different = orders
        .iter()
        .zip(&expected)
        .find(|(one, other)| one != other);
    assert_eq!(different, None);

    let mut first = 0;
    let visited = snapshot.for_each_order(&mut |_| {
        first += 1;
        ControlFlow::Break(())
    });
    visited.expect("the store responds");
    assert_eq!(first, 1);
}

fn a_snapshot_has_dead_letters_as_they_are_stored(subject: &Database) {
    let mut owner = subject.owner();
    let mut batch = owner.batch(vec![sourced("a", 1, 3, 1)]);
    let huge = vec![b'x'; (16 << 20) + 1];
    batch.dead_letters = vec![
        DeadLetter {
            key: Some(Bytes::from_static(b"\xff")),
            payload: None,
            accepted_at_us: 1_637_907_739_000_001,
            ..dead(0, Some("d"))
        },
        DeadLetter {
            payload: Some(huge.into()),
            ..dead(1, None)
        },
        dead(2, None),
    ];
    owner.apply(&batch).expect("the batch is stored");
    let mut snapshot = subject.engine.snapshot().expect("a snapshot can be made");
    assert_eq!(snapshot.counts().expect("the store responds"), (1, 3));
    let mut letters = Vec::new();
    let visited = snapshot.for_each_dead_letter(&mut |letter| {
        letters.push(letter);
        ControlFlow::Continue(())
    });
    visited.expect("the store responds");
    let [null, long, raw] = &letters[..] else {
        panic!("there are three")
    };
    assert_eq!(
        (null.topic.as_str(), null.partition, null.offset),
        ("orders", 0, 0)
    );
    assert_eq!(null.key.as_deref(), Some(&b"\xff"[..]));
    assert_eq!((&null.payload, null.payload_bytes), (&None, 0));
    assert_eq!(null.order_uid.as_deref(), Some("d"));
    assert_eq!(null.accepted_at.to_string(), "2021-11-26T06:22:19.000001Z");
    assert!(null.dead_at.0.is_some());
    assert_eq!(long.payload.as_ref().map(Vec::len), Some(1 << 20));
    assert_eq!(long.payload_bytes, (16 << 20) + 1);
    assert_eq!(long.payload_sha256.as_ref().map(Vec::len), Some(32));
    assert_eq!(raw.payload.as_deref(), Some(&b"\x00\xffraw"[..]));
    assert_eq!(
        (&raw.payload_sha256, raw.reason.as_str()),
        (&None, "it is not JSON")
    );
}
