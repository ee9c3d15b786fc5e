//! What the older program does in one round: it acquires a partition, applies a batch, answers lookups
//! and exports everything.

/// The day of every time that it writes itself.
pub const DAY: &str = "2021-11-26";

const FIRST: &str = "00000000-0000-0000-0000-00000000000a";
const SECOND: &str = "00000000-0000-0000-0000-00000000000b";

/// Acquires partition 0, which two owners contend for, and moves its position by ten.
fn acquire(round: i64, digest: &str) -> Vec<String> {
    let (start, end) = (10 * round, 10 * round + 10);
    let last = end - 1;
    let moved = |owner| {
        format!(
            "upsert_position('log', 0, 'topic-1', {round}, {start}, '{owner}', 'group', 'host')"
        )
    };
    let advance =
        |owner| format!("advance(1, '{owner}', {round}, {end}, {last}, {digest}, {start})");
    let gap = format!("insert_gap_once(1, {round}, 5, NULL, 'the topic was recreated')");
    vec![
        format!("acquire('log', 0, '{FIRST}', 'group', 'host')"),
        moved(FIRST),
        moved(SECOND),
        gap.clone(),
        gap,
        format!("acquire('log', 0, '{SECOND}', 'group', 'host')"),
        format!("acquire('log', 1, '{SECOND}', 'group', 'host')"),
        "find('log', 0)".into(),
        "BEGIN".into(),
        advance(FIRST),
        advance(SECOND),
    ]
}

/// An array of a row for each uid, all columns of an order but the uid and the source.
fn order_arrays(uids: &[&str], offsets: &[i64], round: i64) -> String {
    let array = |value: &str| format!("'{{{}}}'", vec![value; uids.len()].join(","));
    let offsets: Vec<String> = offsets.iter().map(i64::to_string).collect();
    let columns = [
        format!("'{{{}}}'", uids.join(",")),
        array("TRACK"),
        array("WBIL"),
        array("en"),
        array("\"\""),
        array("test"),
        array("meest"),
        array("9"),
        array("99"),
        array("2021-11-26T06:22:19Z"),
        array("1"),
        array("1"),
        array(&round.to_string()),
        format!("'{{{}}}'", offsets.join(",")),
        array("2021-11-26T06:23:00Z"),
    ];
    columns.join(", ")
}

/// The calls of a round on PostgreSQL.
pub fn postgres(round: i64) -> Vec<String> {
    let mut calls = acquire(round, r"'\x0102'");
    let (a, b) = (format!("a-{round}"), format!("b-{round}"));
    let start = 10 * round;
    let (inserted, upserted) = ([&*a, &*b], ["kept", &*a]);
    let orders = order_arrays(&inserted, &[start, start + 1], round);
    let versions = order_arrays(&upserted, &[start + 2, start - 1], round);
    let written = format!("'{{{a},{b},kept}}'");
    let three = |value: &str| format!("'{{{value},{value},{value}}}'");
    let list = |values: &[&str]| {
        let arrays: Vec<String> = values.iter().map(|value| three(value)).collect();
        arrays.join(", ")
    };
    let delivery = list(&[
        "Test", "+972", "2639809", "Kiryat", "Mira 15", "Kraiot", "t@g.com",
    ]);
    let payment = list(&[
        "\"\"",
        "\"\"",
        "USD",
        "wbpay",
        "1817",
        "1637907727",
        "alpha",
        "1500",
        "317",
        "0",
    ]);
    let items = list(&[
        "9934930", "TRACK", "453", "rid", "Mascaras", "30", "0", "317", "2389212", "Vivienne",
        "202",
    ]);
    let letters = format!(
        r#"insert_dead_letters(1, {round}, 'orders', 0, '{{{},{}}}', '{{"\\x6b",NULL}}',
            '{{"\\x7b",NULL}}', '{{1,0}}', '{{"\\x0{round}",NULL}}', '{{dead,NULL}}',
            '{{2021-11-26T06:23:00Z,2021-11-26T06:23:00Z}}', '{{invalid,"too large"}}')"#,
        start + 3,
        start + 4
    );
    calls.extend([
        format!("known_uids('{{kept,{a}}}')"),
        format!("insert_orders({orders})"),
        format!("upsert_orders({versions})"),
        "delete_parts('{kept}')".into(),
        format!("insert_delivery({written}, {delivery})"),
        format!("insert_payment({written}, {payment})"),
        format!("insert_items({written}, {items})"),
        format!("copy_orders('{a}')"),
        format!("copy_delivery('{a}')"),
        format!("copy_payment('{a}')"),
        format!("copy_items('{a}')"),
        "outranked('{kept,a-1}', 99)".into(),
        letters.clone(),
        letters,
        format!("insert_gaps(1, {round}, '{{5,6}}', '{{6,NULL}}', '{{deleted,unknown}}')"),
        "COMMIT".into(),
        "find_by_id(1)".into(),
        "of_log('log')".into(),
        format!("lookup('log', '{{{a},kept,dead,missing}}')"),
        "latest(10)".into(),
        format!("items('{{{a},kept}}')"),
        "counts".into(),
        "first_page".into(),
        "next_page('a-1')".into(),
        format!("page_items('{{{a},kept}}', 'a', 'z')"),
        "next_letter(0)".into(),
        format!("next_letter({round})"),
    ]);
    calls
}

/// The calls of a round on SQLite.
pub fn sqlite(round: i64) -> Vec<String> {
    let mut calls = acquire(round, "x'0102'");
    let (a, b) = (format!("a-{round}"), format!("b-{round}"));
    let start = 10 * round;
    let order = |statement: &str, uid: &str, offset: i64| {
        format!(
            "{statement}('{uid}', 'TRACK', 'WBIL', 'en', '', 'test', 'meest', '9', 99,
             '2021-11-26T06:22:19.000000Z', '1', 1, {round}, {offset}, '2021-11-26T06:23:00.000000Z')"
        )
    };
    let letter = |offset: i64, key: &str, uid: &str, reason: &str| {
        format!(
            "insert_dead_letter(1, {round}, 'orders', 0, {offset}, {key}, {key}, 1, {key}, {uid},
             '2021-11-26T06:23:00.000000Z', '{reason}')"
        )
    };
    calls.extend([
        order("insert_order", &a, start),
        order("insert_order", &b, start + 1),
        order("insert_order", "kept", start + 2),
        order("upsert_order", "kept", start + 2),
        order("upsert_order", &a, start - 1),
        "delete_delivery('kept')".into(),
        "delete_payment('kept')".into(),
        "delete_items('kept')".into(),
    ]);
    for uid in [&*a, &*b, "kept"] {
        calls.extend([
            format!("insert_delivery('{uid}', 'Test', '+972', '2639809', 'Kiryat', 'Mira', 'K', 't@g')"),
            format!("insert_payment('{uid}', '', '', 'USD', 'wbpay', 1817, 1637907727, 'alpha', 1500, 317, 0)"),
            format!("insert_item('{uid}', 9934930, 'TRACK', 453, 'rid', 'Mascaras', 30, '0', 317, 2389212, 'V', 202)"),
        ]);
    }
    let repeated = letter(start + 3, &format!("x'0{round}'"), "'dead'", "invalid");
    calls.extend([
        "outranked('kept', 99)".into(),
        repeated.clone(),
        repeated,
        letter(start + 4, "NULL", "NULL", "too large"),
        format!("insert_gap(1, {round}, 5, 6, 'deleted')"),
        format!("insert_gap(1, {round}, 6, NULL, 'unknown')"),
        "COMMIT".into(),
        "find_by_id(1)".into(),
        "of_log('log')".into(),
        format!("by_uid('{a}')"),
        "by_uid('missing')".into(),
        "items('kept')".into(),
        "dead_letter('dead')".into(),
        "latest(10)".into(),
        "counts".into(),
        "all_orders".into(),
        "letters".into(),
    ]);
    calls
}
