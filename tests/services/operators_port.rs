//! The operators' port of both services, and the public paths that watch the API.

use support::{Env, Process, http};

fn get(process: &Process, path: &str) -> (u16, String) {
    let answer = http::get(&format!("{}{path}", process.admin_url()));
    (answer.status, answer.text())
}

#[test]
fn the_api_says_that_it_lives_and_is_ready_and_why() {
    let env = Env::ready();
    let api = env.serve_api().env("CACHE_LOAD_LIMIT", "0").start();
    let health = http::get(&format!("{}/healthz", api.url()));
    assert_eq!((health.status, health.text().as_str()), (200, "ok\n"));
    assert_eq!(get(&api, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(get(&api, "/readyz"), (200, "ok\n".to_owned()));
    let (orders, found) = (env.topic(), env.found_topic());
    let address = api.url().replace("http://", "");
    let checks = format!(
        "ok log `{orders}`: followed to its end\n\
         ok log `{found}`: followed to its end\n\
         ok producer: connected\n\
         ok listener: listening on {address}\n\
         ok warm-up: nothing is warmed up: CACHE_LOAD_LIMIT is 0\n"
    );
    super::wait_for_check(&api, &format!("ok log `{found}`: followed to its end"));
    assert_eq!(get(&api, "/readyz?verbose"), (200, checks));
}

#[test]
fn the_consumer_says_that_it_lives_and_is_ready_and_why() {
    let env = Env::with_partitions(2);
    let consumer = env.consumer();
    assert_eq!(get(&consumer, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(get(&consumer, "/readyz"), (200, "ok\n".to_owned()));
    let (_, database) = env.db_url.rsplit_once('@').expect("the URL names a user");
    let checks = format!(
        "ok database: {database}\n\
         ok log: topic `{}` has 2 partitions\n\
         ok lookups: answering\n\
         ok migrations: all applied\n\
         ok partition 0: reading\n\
         ok partition 1: reading\n\
         ok partitions: assigned [0, 1]\n",
        env.topic()
    );
    for last in [
        "lookups: answering",
        "partition 0: reading",
        "partition 1: reading",
    ] {
        super::wait_for_check(&consumer, &format!("ok {last}"));
    }
    assert_eq!(get(&consumer, "/readyz?verbose"), (200, checks));
}

#[test]
fn metrics_count_what_was_done() {
    let env = Env::ready();
    let (api, consumer) = (env.api(), env.consumer());
    let mut posted = super::Posted::default();
    posted.at_once(&api, "uid", 5);
    assert_eq!(
        http::get(&format!("{}/api/order/absent", api.url())).status,
        404
    );
    assert_eq!(
        http::get(&format!("{}/api/order/uid-0", api.url())).status,
        200
    );
    env.wait_until_applied();

    let (status, text) = get(&api, "/metrics");
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in [
        "orders_http_requests_total{route=\"/orders\",status=\"202\"} 5",
        "orders_http_requests_total{route=\"/api/order/{uid}\",status=\"404\"} 1",
        "orders_http_requests_total{route=\"/api/order/{uid}\",status=\"200\"} 1",
        "orders_cache_hits_total 1",
        "orders_cache_misses_total 1",
    ] {
        assert!(
            text.lines().any(|said| said == line),
            "no `{line}` in\n{text}"
        );
    }
    super::wait_for_metric(&consumer, "orders_consumer_orders_applied_total", 5);
    assert_eq!(
        super::metric(&consumer, "orders_consumer_dead_letters_total"),
        0
    );
    // One that is not answered within half a second is asked again.
    let answered = super::metric(&consumer, "orders_consumer_lookups_answered_total");
    assert!((1..5).contains(&answered), "{answered}");
}

#[test]
fn other_paths_and_methods_are_told_what_there_is() {
    let env = Env::ready();
    for process in [env.api(), env.consumer()] {
        let said = "no such path: try /livez, /readyz?verbose or /metrics\n";
        assert_eq!(get(&process, "/nope"), (404, said.to_owned()));
        let url = format!("{}/readyz", process.admin_url());
        let posted = http::request("POST", &url, &[], b"").expect("it answers");
        assert_eq!(
            (posted.status, posted.text().as_str()),
            (405, "method not allowed\n")
        );
    }
}

#[test]
fn a_body_announced_to_the_operators_port_neither_ends_nor_hangs_the_process() {
    let env = Env::ready();
    for process in [env.api(), env.consumer()] {
        let url = process.admin_url();
        for announced in ["1000000000000", "5000"] {
            let request =
                format!("GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: {announced}\r\n\r\n");
            let answer = http::raw(&url, request.as_bytes()).expect("it answers");
            assert_eq!(answer.status, 413, "{}", answer.text());
        }
        assert_eq!(get(&process, "/livez"), (200, "ok\n".to_owned()));
    }
}
