//! The control socket of each service: what it answers, to whom, and what it survives.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use serde_json::Value;
use support::{Env, Orders, Process, TIMEOUT, eventually_ok, http, wait_until};

use super::RECOVERY;
use super::descriptors::{IDLE, return_descriptors, take_descriptors};

/// Part of a setting that is masked wherever settings are shown.
const PASSWORD: &str = "not-to-be-shown";

fn folder(env: &Env) -> PathBuf {
    env.path().join("orders")
}

fn socket(env: &Env, role: &str, process: &Process) -> PathBuf {
    folder(env).join(format!("{role}-{}.sock", process.id()))
}

/// One request with this first line and these headers; status, head and body of the answer.
fn try_request(socket: &Path, head: &str) -> io::Result<(u16, String, Value)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let request = format!("{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let malformed = || io::Error::other(format!("not an answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let body = serde_json::from_str(body).unwrap_or_default();
    Ok((status.ok_or_else(malformed)?, head.to_owned(), body))
}

fn request(socket: &Path, head: &str) -> (u16, String, Value) {
    try_request(socket, head).unwrap_or_else(|error| panic!("no answer from {socket:?}: {error}"))
}

fn status(socket: &Path) -> Value {
    let (status, head, body) = request(socket, "GET /status HTTP/1.1");
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("Content-Type: application/json"), "{head}");
    body
}

/// Panics unless the socket answers what the operators' port does.
fn assert_answers(socket: &Path, role: &str, process: &Process) {
    let report = status(socket);
    assert_eq!(report["role"], role);
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["pid"], process.id());
    assert!(report["uptime_s"].is_u64(), "{report}");
    let admin = process.admin_authority();
    assert_eq!(report["addresses"]["admin"], admin);
    let checks = report["checks"].as_array().expect("there are checks");
    let names: Vec<&str> = checks
        .iter()
        .map(|check| {
            assert!(check["ok"].is_boolean() && check["detail"].is_string());
            check["name"].as_str().expect("a check has a name")
        })
        .collect();
    let shown = process.readiness().1;
    assert_eq!(shown.lines().count(), names.len(), "{shown}\n{report}");
    for (line, name) in shown.lines().zip(names) {
        let (_, line) = line.split_once(' ').expect("a line starts with its state");
        assert!(
            line.starts_with(&format!("{name}: ")),
            "{line} is not {name}"
        );
    }

    let (status, _, config) = request(socket, "GET /config HTTP/1.1");
    assert_eq!(status, 200);
    let settings = config["settings"].as_array().expect("a list");
    let admin_addr = settings.iter().find(|it| it["name"] == "ADMIN_ADDR");
    let admin_addr = admin_addr.expect("every service has the setting");
    assert_eq!(admin_addr["origin"], "environment", "{admin_addr}");
    assert!(!config.to_string().contains(PASSWORD), "{config}");
    assert_eq!(request(socket, "GET /livez HTTP/1.1").0, 404);
    let (status, head, _) = request(socket, "POST /status HTTP/1.1\r\nContent-Length: 0");
    assert_eq!(status, 405);
    assert!(head.contains("Allow: GET, HEAD"), "{head}");
}

#[test]
fn each_service_answers_on_a_socket_in_a_private_folder_and_removes_it_on_exit() {
    let env = Env::ready();
    let properties = format!("ssl.key.password={PASSWORD}");
    let start = |service: Orders<'_>| service.env("KAFKA_PROPERTIES", &properties).start();
    let (mut api, mut consumer) = (start(env.serve_api()), start(env.consume()));
    let embedded = Env::embedded();
    let mut up = embedded.up();
    for (env, role, process) in [
        (&env, "api", &mut api),
        (&env, "consumer", &mut consumer),
        (&embedded, "up", &mut up),
    ] {
        let socket = socket(env, role, process);
        assert_answers(&socket, role, process);
        let address = status(&socket)["addresses"]["api"].clone();
        match role {
            "consumer" => assert_eq!(address, Value::Null),
            _ => assert_eq!(address, process.authority()),
        }
        let mode = fs::metadata(folder(env)).expect("it exists").permissions();
        assert_eq!(mode.mode() & 0o7777, 0o700);
        assert_eq!(process.stop().code(), Some(0));
        assert!(!socket.exists(), "{socket:?} is not removed");
    }
}

/// Panics unless an API runs without a control socket and says why.
fn assert_refused(env: &Env, runtime_dir: &Path, why: &str) {
    let api = env.serve_api().env("XDG_RUNTIME_DIR", runtime_dir).start();
    let line = api.wait_for_line("running without a control socket: ");
    assert!(line.contains(why), "{line}");
    assert_eq!(http::get(&format!("{}/livez", api.admin_url())).status, 200);
}

#[test]
fn a_folder_that_others_can_write_to_is_refused_and_the_service_keeps_running() {
    let env = Env::ready();
    fs::create_dir(folder(&env)).expect("it does not exist");
    fs::set_permissions(folder(&env), Permissions::from_mode(0o755)).expect("it is ours");
    assert_refused(&env, env.path(), "has mode 755 and must have 700");

    fs::set_permissions(folder(&env), Permissions::from_mode(0o700)).expect("it is ours");
    // Only root can change the owner of a folder.
    if geteuid().is_root() {
        chown(folder(&env), Some(65_534), None).expect("root may");
        assert_refused(&env, env.path(), "belongs to user 65534");
        chown(folder(&env), Some(0), None).expect("root may");
    }

    let target = env.path().join("target");
    fs::rename(folder(&env), &target).expect("it is ours");
    symlink(&target, folder(&env)).expect("nothing exists there");
    assert_refused(&env, env.path(), "is not a folder");
    assert_eq!(fs::read_dir(target).expect("it exists").count(), 0);

    // A socket's path has 108 bytes at most.
    let long = env.path().join("a".repeat(100));
    fs::create_dir(&long).expect("it does not exist");
    assert_refused(&env, &long, "listening on ");
}

#[test]
fn a_stale_socket_of_a_killed_service_is_removed_by_the_next_one() {
    let env = Env::ready();
    let mut killed = env.api();
    let stale = socket(&env, "api", &killed);
    let running = env.consumer();
    killed.kill9();
    assert!(stale.exists());
    let api = env.api();
    assert!(!stale.exists());
    for (role, process) in [("api", &api), ("consumer", &running)] {
        assert_eq!(status(&socket(&env, role, process))["role"], role);
    }
}

/// Other threads open and close descriptors meanwhile: the socket must recover whoever has the last.
#[test]
fn the_control_socket_recovers_after_descriptors_ran_out() {
    // More than it takes to fill what is free below the limit.
    const CONNECTIONS: usize = 64;
    let env = Env::ready();
    let mut consumer = env.consumer();
    let socket = socket(&env, "consumer", &consumer);
    // A connection takes two descriptors: with one left it is accepted, and cannot be served.
    for left in [1, 0] {
        let mark = consumer.mark();
        consumer.limit_descriptors(consumer.first_free_descriptor() + left);
        let waiting: Vec<_> = (0..CONNECTIONS)
            .map(|_| UnixStream::connect(&socket))
            .collect();
        wait_until("the socket to be closed", RECOVERY, || {
            UnixStream::connect(&socket).is_err()
        });
        // Neither can it be found out that it is closed.
        take_descriptors(&consumer);
        consumer.assert_idle(IDLE);
        drop(waiting);
        return_descriptors(&consumer);
        consumer.wait_for_line_after(mark, "control socket failed, recreating it: ", RECOVERY);
        eventually_ok("an answer of the control socket", RECOVERY, || {
            try_request(&socket, "GET /status HTTP/1.1")
        });
    }
    consumer.wait_ready_within(RECOVERY);
    assert!(consumer.is_running());
}

#[test]
fn a_request_with_a_body_neither_ends_nor_blocks_the_control_socket() {
    let env = Env::embedded();
    let mut up = env.up();
    let socket = socket(&env, "up", &up);
    let mut huge = UnixStream::connect(&socket).expect("it listens");
    huge.write_all(b"GET /status HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999\r\n\r\n")
        .expect("it reads");
    up.wait_for_line("a request with a body of over 1 MiB is left unanswered");
    // This one waits for a body that does not come.
    let mut slow = UnixStream::connect(&socket).expect("it listens");
    slow.write_all(b"GET /status HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n")
        .expect("it reads");
    drop(huge);
    assert_eq!(status(&socket)["role"], "up");
    drop(slow);
    assert_eq!(status(&socket)["role"], "up");
    assert!(up.is_running());
}
