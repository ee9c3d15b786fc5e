//! `retry`, `edit`, `discard` and `prune`: what they store, what they refuse, what GET answers then.

use serde_json::json;
use support::kafka::RawRecord;
use support::orders::{order, order_version};
use support::{Engines, TIMEOUT, eventually, on_both_engines};

use super::{WRONG, dead_letters, run, write, wrong};

on_both_engines! {
    [
        a_mended_order_is_served_at_once_by_an_api_that_had_cached_another_answer,
        a_dead_letter_that_is_refused_again_stays_open_with_its_reasons,
        a_mended_file_is_applied_to_the_selected_dead_letters_alone,
        a_retried_older_version_does_not_hide_the_newer_one,
        an_edited_payload_is_stored_and_a_refused_one_is_kept,
        discarded_dead_letters_no_longer_count_and_can_be_pruned,
        records_of_pruned_dead_letters_are_accounted_for_and_stay_resolved,
        a_head_is_not_retried_without_the_whole_order,
    ]
}

const RESOLUTIONS: &str = "SELECT id, resolution, resolved_why FROM dead_letters ORDER BY id";

fn a_mended_order_is_served_at_once_by_an_api_that_had_cached_another_answer(engines: &Engines) {
    let env = engines.ready();
    let (api, _consumer) = (env.api(), env.consumer());
    api.post(order_version("a", 1).to_string())
        .expect_status(202);
    env.produce(&[RawRecord::new("a", wrong("a")), RawRecord::new("b", "{")]);
    env.wait_until_applied();
    assert_eq!(api.get_order("a").json(), order_version("a", 1));
    assert_eq!(
        api.get_order("b").expect_status(404).json()["type"],
        "dead-lettered"
    );

    write(
        &env,
        "mended.json",
        &json!([order_version("a", 2), order("b")]),
    );
    let retry = "retry --file mended.json --why ticket-7";
    let refused = run(&env, retry).exits(2);
    refused
        .reports("there is no terminal to ask at")
        .reports("hint: pass --yes");
    let dry = run(&env, &format!("{retry} --dry-run")).succeeds();
    let table = "id  outcome  order  reason\n1   retried  a\n2   retried  b\n";
    let summary = "2 would be resolved, 0 refused; nothing was written\n";
    dry.prints(table, summary);
    assert_eq!(env.db().text(RESOLUTIONS), "1||\n2||");

    let retried = run(&env, &format!("{retry} --yes")).succeeds();
    retried.prints(table, "2 resolved, 0 refused\n");
    let resolutions = "1|retried|ticket-7\n2|retried|ticket-7";
    assert_eq!(env.db().text(RESOLUTIONS), resolutions);
    for (uid, expected) in [("a", order_version("a", 2)), ("b", order("b"))] {
        eventually(
            format!("GET {uid} to return what is stored"),
            TIMEOUT,
            || {
                let answer = api.get_order(uid);
                (answer.status == 200 && answer.json() == expected).then_some(())
            },
        );
    }
    let by = env
        .db()
        .text("SELECT DISTINCT resolved_by FROM dead_letters");
    assert!(by.contains('@'), "{by}");

    let again = run(&env, "retry 1 2 --yes").succeeds();
    let table = "id  outcome          order  reason\n1   already retried\n2   already retried\n";
    again.prints(table, "0 resolved, 0 refused\n");
}

fn a_dead_letter_that_is_refused_again_stays_open_with_its_reasons(engines: &Engines) {
    let env = engines.ready();
    dead_letters(&env, &[("a", wrong("a")), ("b", "{".into())]);
    let refused = run(&env, "retry --reason sm_id --yes").exits(1);
    let table = format!("id  outcome  order  reason\n1   refused  a      {WRONG}\n");
    refused.prints(&table, "0 resolved, 1 refused\n");
    let json = run(&env, "retry 7 --yes --output json").exits(1).json();
    let missing = json!({
        "id": 7, "outcome": "refused", "order_uid": null,
        "reason": "there is no such dead letter",
    });
    assert_eq!(json["dead_letters"], json!([missing]));
    assert_eq!(env.db().text(RESOLUTIONS), "1||\n2||");
    // A mended order whose dead letter is named by its id, and one that has none.
    write(&env, "mended.json", &order("c"));
    run(&env, "retry --file mended.json --yes").exits(1);
    run(&env, "retry --file mended.json --id 2 --yes").succeeds();
    assert_eq!(env.db().text("SELECT order_uid FROM orders"), "c");
    for usage in ["retry --yes", "retry 1 --reason x --yes", "retry 1 --all"] {
        run(&env, usage).exits(2);
    }
}

fn a_mended_file_is_applied_to_the_selected_dead_letters_alone(engines: &Engines) {
    let env = engines.ready();
    dead_letters(&env, &[("a", wrong("a")), ("b", "{".into())]);
    write(&env, "mended.json", &json!([order("a"), order("b")]));
    let retry = "retry --file mended.json --reason sm_id --yes";
    let retried = run(&env, retry).succeeds();
    let table = "id  outcome  order  reason\n1   retried  a\n";
    retried.prints(table, "1 resolved, 0 refused\n");
    assert_eq!(env.db().text("SELECT order_uid FROM orders"), "a");
}

fn a_retried_older_version_does_not_hide_the_newer_one(engines: &Engines) {
    let env = engines.ready();
    let (api, _consumer) = (env.api(), env.consumer());
    env.produce(&[RawRecord::new("a", wrong("a")), RawRecord::version("a", 5)]);
    env.wait_until_applied();
    write(&env, "mended.json", &order_version("a", 3));
    let outdated = run(&env, "retry --file mended.json --yes").succeeds();
    let table = "id  outcome   order  reason\n1   outdated  a\n";
    outdated.prints(table, "1 resolved, 0 refused\n");
    assert_eq!(env.db().text(RESOLUTIONS), "1|outdated|");
    assert_eq!(api.get_order("a").json(), order_version("a", 5));
}

fn an_edited_payload_is_stored_and_a_refused_one_is_kept(engines: &Engines) {
    let env = engines.ready();
    dead_letters(&env, &[("a", wrong("a")), ("b", wrong("b"))]);
    let edit = |id: &str, editor: &str| {
        let edit = env.orders(&["dead-letters", "edit", id]);
        edit.env("EDITOR", editor).env("TMPDIR", env.path()).run()
    };
    let kept = || {
        let entries = std::fs::read_dir(env.path()).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names
            .filter(|name| name.starts_with("orders-") && name.ends_with(".json"))
            .collect::<Vec<_>>()
    };
    edit("1", "true")
        .succeeds()
        .prints("", "nothing was changed\n");
    edit("1", "false").exits(1);
    assert_eq!(kept(), [""; 0]);
    let edited = edit("1", "sed -i s/\\\"x\\\"/7/").succeeds();
    edited.prints(
        "id  outcome  order  reason\n1   retried  a\n",
        "1 resolved, 0 refused\n",
    );
    assert_eq!(env.db().text("SELECT order_uid, sm_id FROM orders"), "a|7");
    assert_eq!(kept(), [""; 0]);

    edit("2", "sed -i s/\\\"x\\\"/\\\"y\\\"/")
        .exits(1)
        .reports("warning: what you wrote is in `");
    let [kept] = &kept()[..] else {
        panic!("one file is kept")
    };
    let path = env.path().join(kept);
    let text = std::fs::read_to_string(&path).expect("it is there");
    assert_eq!(text, wrong("b").replace("\"x\"", "\"y\""));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&path).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o077, 0);
    edit("1", "true")
        .exits(3)
        .reports("dead letter 1 is resolved already: retried");
}

fn discarded_dead_letters_no_longer_count_and_can_be_pruned(engines: &Engines) {
    let env = engines.ready();
    dead_letters(&env, &[("a", wrong("a")), ("b", wrong("b"))]);
    run(&env, "discard 1 --yes").exits(2);
    let discarded = run(&env, "discard 1 --why test-data --yes").succeeds();
    discarded.prints(
        "id  outcome    order  reason\n1   discarded\n",
        "1 resolved, 0 refused\n",
    );
    assert_eq!(env.db().text(RESOLUTIONS), "1|discarded|test-data\n2||");
    assert_eq!(run(&env, "--output json").succeeds().json()["open"], 1);
    let consumer = env.consumer();
    eventually("the metric to count the open one", TIMEOUT, || {
        let open = consumer.find_metric("orders_dead_letters_open{}").ok()?;
        (open == 1.0).then_some(())
    });
    drop(consumer);
    // Only the open one would be left out.
    env.orders(&["export"])
        .run()
        .exits(3)
        .reports("1 dead letter(s)");

    let nothing = run(&env, "prune --resolved-before -1h --yes").succeeds();
    nothing.prints("", "deleted 0 dead letter(s)\n");
    let dry = run(&env, "prune --resolved-before 2999-01-01 --dry-run").succeeds();
    let would =
        "would delete 1 dead letter(s) resolved before 2999-01-01T00:00:00Z; nothing was deleted\n";
    dry.prints("", would);
    let pruned = run(&env, "prune --resolved-before 2999-01-01 --yes").succeeds();
    pruned.prints("", "deleted 1 dead letter(s)\n");
    assert_eq!(env.db().text("SELECT id FROM dead_letters"), "2");
}

fn records_of_pruned_dead_letters_are_accounted_for_and_stay_resolved(engines: &Engines) {
    let env = engines.ready();
    dead_letters(&env, &["a", "b", "c"].map(|uid| (uid, wrong(uid))));
    run(&env, "discard 1 --why test-data --yes").succeeds();
    write(&env, "mended.json", &order("b"));
    run(&env, "retry --file mended.json --yes").succeeds();
    run(&env, "prune --resolved-before 2999-01-01 --yes").succeeds();
    let accounted = "3 records = 0 stored + 0 older versions + 3 dead letters + 0 in gaps + 0 erased; \
                     0 missing\n";
    let verify = || env.orders(&["verify"]).run().succeeds();
    assert_eq!(verify().stdout, accounted);
    let gaps = env.orders(&["gaps", "--output", "json"]).run().succeeds();
    assert_eq!(gaps.json()["gaps"], json!([]));

    // Replayed, they are refused again by the same rules.
    let partitions = env.db().text("SELECT partition FROM log_positions");
    for partition in partitions.lines() {
        let from = format!("{partition}@0");
        let replay = ["replay", "--from", &from, "--yes"];
        env.orders(&replay).run().succeeds();
    }
    let _consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(env.db().text("SELECT id FROM dead_letters"), "3");
    assert_eq!(env.db().text("SELECT order_uid FROM orders"), "b");
    assert_eq!(verify().stdout, accounted);
}

fn a_head_is_not_retried_without_the_whole_order(engines: &Engines) {
    let env = engines.ready();
    dead_letters(&env, &[("a", wrong("a"))]);
    env.db()
        .run("UPDATE dead_letters SET payload_bytes = 20000000");
    let refused = run(&env, "retry --all --yes").exits(1);
    let reason = "only the head of its 20000000 bytes is kept: give the whole order with --file";
    let table = format!("id  outcome  order  reason\n1   refused         {reason}\n");
    refused.prints(&table, "0 resolved, 1 refused\n");
    write(&env, "mended.json", &order("a"));
    run(&env, "retry --file mended.json --yes").succeeds();
    assert_eq!(env.db().text("SELECT order_uid FROM orders"), "a");
}

#[test]
fn a_log_that_is_away_is_a_warning_because_the_order_is_stored() {
    let env = Engines::Servers.ready();
    dead_letters(&env, &[("a", wrong("a"))]);
    write(&env, "mended.json", &order("a"));
    let retry = ["dead-letters", "retry", "--file", "mended.json", "--yes"];
    let away = env.orders(&retry).env("KAFKA_BROKERS", "127.0.0.1:1").run();
    let away = away.succeeds();
    away.reports("warning: 1 order(s) are stored, and APIs may answer what they have cached");
    assert_eq!(env.db().text(RESOLUTIONS), "1|retried|");
}
