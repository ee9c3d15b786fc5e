//! The operators' port of both services, and the public health path.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::http::{self, Connection};
use support::{Env, Process, TIMEOUT, wait_until};

fn get(process: &Process, path: &str) -> (u16, String) {
    let answer = http::get(&format!("{}{path}", process.admin_url()));
    (answer.status, answer.text())
}

#[test]
fn the_api_reports_liveness_and_readiness_with_its_checks() {
    let env = Env::ready();
    let api = env.serve_api().without_warm_up().start();
    let health = http::get(&format!("{}/healthz", api.url()));
    assert_eq!((health.status, health.text().as_str()), (200, "ok\n"));
    assert_eq!(get(&api, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(get(&api, "/readyz"), (200, "ok\n".to_owned()));
    let (orders, found) = (env.topic(), env.found_topic());
    let address = api.authority();
    let checks = format!(
        "ok log `{orders}`: followed to its end\n\
         ok log `{found}`: followed to its end\n\
         ok producer: connected\n\
         ok listener: listening on {address}\n\
         ok warm-up: nothing is warmed up: CACHE_LOAD_LIMIT is 0\n\
         ok bodies: 0 of 64 MiB taken\n\
         ok cache: 0 orders\n"
    );
    super::wait_for_check(&api, &format!("ok log `{found}`: followed to its end"));
    assert_eq!(get(&api, "/readyz?verbose"), (200, checks));
}

#[test]
fn the_consumer_reports_liveness_and_readiness_with_its_checks() {
    let env = Env::with_partitions(2);
    let consumer = env.consumer();
    assert_eq!(get(&consumer, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(get(&consumer, "/readyz"), (200, "ok\n".to_owned()));
    let (_, database) = env.db_url.rsplit_once('@').expect("the URL names a user");
    let checks = format!(
        "ok database: {database}\n\
         ok log: topic `{}` has 2 partitions\n\
         ok lookups: replying\n\
         ok migrations: all applied\n\
         ok partition 0: reading\n\
         ok partition 1: reading\n\
         ok partitions: assigned [0, 1]\n",
        env.topic()
    );
    for last in [
        "lookups: replying",
        "partition 0: reading",
        "partition 1: reading",
    ] {
        super::wait_for_check(&consumer, &format!("ok {last}"));
    }
    assert_eq!(get(&consumer, "/readyz?verbose"), (200, checks));
}

#[test]
fn metrics_count_requests_and_orders() {
    let env = Env::ready();
    let (api, consumer) = (env.api(), env.consumer());
    let mut posted = super::Posted::default();
    posted.at_once(&api, "uid", 5);
    assert_eq!(api.get_order("absent").status, 404);
    assert_eq!(api.get_order("uid-0").status, 200);
    env.wait_until_applied();

    let (status, text) = get(&api, "/metrics");
    assert_eq!(status, 200);
    for line in [
        "orders_http_requests_total{route=\"/orders\",method=\"POST\",status=\"202\"} 5",
        "orders_http_requests_total{route=\"/api/order/{uid}\",method=\"GET\",status=\"404\"} 1",
        "orders_http_requests_total{route=\"/api/order/{uid}\",method=\"GET\",status=\"200\"} 1",
        "orders_cache_hits_total 1",
        "orders_cache_misses_total 1",
        "orders_lookups_total{outcome=\"not_found\"} 1",
        "orders_produce_duration_seconds_count 5",
        "orders_produce_errors_total{kind=\"unknown\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "no `{line}` in\n{text}");
    }
    consumer.wait_for_metric("orders_applied_total", 5);
    assert_eq!(consumer.metric("orders_dead_letters_total"), 0);
    // A lookup without a reply is repeated after half a second.
    let answered = consumer.metric("orders_consumer_lookups_answered_total");
    assert!((1..5).contains(&answered), "{answered}");
}

#[test]
fn unknown_paths_and_methods_are_answered_with_the_known_ones() {
    let env = Env::ready();
    for process in [env.api(), env.consumer()] {
        let text = "no such path: try /livez, /readyz?verbose or /metrics\n";
        assert_eq!(get(&process, "/nope"), (404, text.to_owned()));
        let url = format!("{}/readyz", process.admin_url());
        let posted = http::request("POST", &url, &[], b"").expect("an answer");
        assert_eq!(posted.expect_status(405).text(), "method not allowed\n");
    }
}

#[test]
fn no_local_user_finds_a_port_on_which_a_request_aborts_the_service() {
    let env = Env::ready();
    for mut process in [env.api(), env.consumer()] {
        let mut ports = process.listening_ports();
        for port in ports.clone() {
            for length in ["99999999999999", "5000"] {
                let request = format!(
                    "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
                );
                let answer = http::raw(&format!("127.0.0.1:{port}"), request.as_bytes());
                let status = answer.expect("it answers").status;
                assert!(matches!(status, 404 | 413), "{status} on port {port}");
            }
        }
        assert_eq!(get(&process, "/livez"), (200, "ok\n".to_owned()));
        assert!(process.is_running());
        // The service says which ports it has, and has no other.
        let named = process.lines().join("\n");
        ports.retain(|port| !named.contains(&format!("127.0.0.1:{port}")));
        assert_eq!(ports, [0; 0], "{named}");
    }
}

#[test]
fn a_probe_is_answered_within_100_ms_beside_three_hundred_slow_clients() {
    let env = Env::ready();
    for process in [env.api(), env.consumer()] {
        let authority = process.admin_authority();
        let begun = [
            "",
            "GET /livez HTTP/1.1\r\nHost: lo",
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n",
        ];
        let slow: Vec<TcpStream> = (0..300)
            .map(|number| {
                let mut stream = TcpStream::connect(&authority).expect("the port is open");
                let sent = stream.write_all(begun[number % 3].as_bytes());
                sent.expect("the kernel accepts a few bytes");
                stream
            })
            .collect();
        let mut took: Vec<Duration> = ["/livez", "/readyz", "/metrics"]
            .repeat(7)
            .into_iter()
            .map(|path| {
                let asked = Instant::now();
                assert_eq!(get(&process, path).0, 200);
                asked.elapsed()
            })
            .collect();
        took.sort();
        // Other tests run at the same time, so single probes may be slower; none may take the second
        // after which Kubernetes gives a probe up.
        let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
        assert!(median < Duration::from_millis(100), "{took:?}");
        assert!(longest < Duration::from_secs(1), "{took:?}");
        drop(slow);
    }
}

#[test]
fn probes_are_answered_while_the_runtime_of_the_api_is_stuck() {
    let env = Env::ready();
    let stalls = env
        .serve_api()
        .env("ORDERS_FAILPOINT", "after_ack=stall 5s");
    let api = stalls.start();
    // An order stalls the thread of the runtime that handles it; more orders than it has threads.
    let threads = std::thread::available_parallelism().expect("it is known");
    let mut posts: Vec<Connection> = (0..threads.get() * 8)
        .map(|number| {
            let mut connection = Connection::open(&api.url()).expect("the API accepts connections");
            let order = super::post_bytes(&format!("uid-{number}"));
            connection
                .send(&order)
                .expect("the kernel accepts a few bytes");
            connection
        })
        .collect();
    let stalled = Instant::now();
    wait_until("the runtime is stuck", TIMEOUT, || {
        let connection = Connection::open(&api.url()).expect("the kernel accepts connections");
        let mut connection = connection.with_timeout(Duration::from_millis(500));
        connection.get("/healthz").is_err()
    });
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(get(&api, path).0, 200);
    }
    let elapsed = stalled.elapsed();
    assert!(elapsed < Duration::from_secs(4), "the stall may be over");
    for post in &mut posts {
        assert_eq!(post.receive().expect("it answers").status, 202);
    }
}
