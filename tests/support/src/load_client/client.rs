//! The process of one client.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::{VARIABLE, Workload, control_file};
use crate::TIMEOUT;
use crate::http::{Connection, Response};
use crate::orders::order_version;

/// Does the work of a client when this process was started as one; returns whether it was.
pub fn run_if_requested() -> bool {
    let Ok(line) = std::env::var(VARIABLE) else {
        return false;
    };
    let words: Vec<&str> = line.splitn(6, ' ').collect();
    let [authority, prefix, orders, invalid_every, pace, path] = words[..] else {
        panic!("malformed request: {line}")
    };
    let workload = Workload {
        authority: authority.to_owned(),
        prefix: prefix.to_owned(),
        orders: orders.parse().expect("a number of orders"),
        invalid_every: invalid_every.parse().expect("a number of requests"),
        pace: pace.parse().ok().map(Duration::from_millis),
    };
    Client {
        answers: File::create(path).expect("the answer log can be created"),
        path: PathBuf::from(path),
        connection: None,
        versions: Vec::new(),
        workload,
    }
    .run();
    true
}

/// The outcome of one request.
enum Outcome {
    /// No connection could be opened; nothing was sent.
    NotSent,
    /// The connection broke before the answer.
    Broken,
    Answered(Response),
}

struct Client {
    workload: Workload,
    answers: File,
    path: PathBuf,
    connection: Option<Connection>,
    /// The newest accepted version of each order.
    versions: Vec<u32>,
}

impl Client {
    fn run(mut self) {
        // Three new orders, then a newer version of one of the earlier ones.
        let mut chosen = 7_usize;
        for number in 0..self.workload.orders {
            chosen = chosen.wrapping_mul(1_103_515_245).wrapping_add(12_345) % 1_000_003;
            let index = if number % 4 == 3 {
                chosen % self.versions.len()
            } else {
                self.versions.push(0);
                self.versions.len() - 1
            };
            if self.workload.invalid_every > 0 && number % self.workload.invalid_every == 0 {
                self.post_invalid(number);
            }
            self.post_until_accepted(index, self.versions[index] + 1);
            self.versions[index] += 1;
            if let Some(pace) = self.workload.pace {
                if number % 4 == 0 {
                    self.read_back(chosen % self.versions.len());
                }
                thread::sleep(pace);
            }
            if !self.may_continue() {
                return;
            }
        }
    }

    /// Waits while the client is suspended; returns false when it is to stop.
    fn may_continue(&self) -> bool {
        if control_file(&self.path, "suspend").exists() {
            let suspended = control_file(&self.path, "suspended");
            File::create(&suspended).expect("the folder is writable");
            while control_file(&self.path, "suspend").exists() {
                thread::sleep(Duration::from_millis(10));
            }
            fs::remove_file(suspended).expect("the folder is writable");
        }
        !control_file(&self.path, "stop").exists()
    }

    fn post_until_accepted(&mut self, index: usize, version: u32) {
        let uid = format!("{}-{index}", self.workload.prefix);
        let body = order_version(&uid, version).to_string();
        let deadline = Instant::now() + TIMEOUT * 4;
        loop {
            let answer = match self.post(body.as_bytes()) {
                Outcome::NotSent => "refused",
                Outcome::Broken => "unknown",
                Outcome::Answered(answer) => match answer.status {
                    202 => "accepted",
                    503 | 507 if answer.text().contains("not_accepted") => "refused",
                    503 => "unknown",
                    status => panic!("`{uid}` was answered {status}: {}", answer.text()),
                },
            };
            let written = writeln!(self.answers, "{answer} {uid} {version}");
            let synced = written.and_then(|()| self.answers.sync_data());
            synced.expect("the answer log can be written");
            if answer == "accepted" {
                return;
            }
            let is_in_time = Instant::now() < deadline;
            assert!(is_in_time, "`{uid}` was not accepted in time");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn post_invalid(&mut self, number: u32) {
        let body = format!(
            "{{\"order_uid\":\"{}-invalid-{number}\",\"payment\":{{\"amount\":\"x\"}}}}",
            self.workload.prefix
        );
        if let Outcome::Answered(answer) = self.post(body.as_bytes()) {
            let is_refused = matches!(answer.status, 422 | 503);
            assert!(is_refused, "an invalid order: {answer:?}");
        }
    }

    /// Checks that GET returns an accepted order in that version or a newer one, unless the answer
    /// says that this cannot be known now.
    fn read_back(&mut self, index: usize) {
        let accepted = self.versions[index];
        let uid = format!("{}-{index}", self.workload.prefix);
        let path = format!("/api/order/{uid}");
        let Outcome::Answered(answer) = self.request(|it| it.get(&path)) else {
            return;
        };
        match answer.status {
            200 if answer.is_verified() => {
                let amount = answer.json()["payment"]["amount"].as_u64();
                assert!(
                    amount.is_some_and(|version| version >= u64::from(accepted)),
                    "`{uid}` was accepted in version {accepted}; GET says {:?} {}",
                    answer.headers,
                    answer.text()
                );
            }
            200 | 202 | 503 => {}
            status => panic!(
                "`{uid}` was accepted in version {accepted}; GET is answered {status}: {}",
                answer.text()
            ),
        }
    }

    fn post(&mut self, body: &[u8]) -> Outcome {
        self.request(|connection| connection.post("/orders", body))
    }

    fn request(
        &mut self,
        request: impl FnOnce(&mut Connection) -> io::Result<Response>,
    ) -> Outcome {
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.workload.authority),
        };
        let Ok(mut connection) = connection else {
            return Outcome::NotSent;
        };
        match request(&mut connection) {
            Ok(response) => {
                let closes = response
                    .header("connection")
                    .is_some_and(|value| value.eq_ignore_ascii_case("close"));
                self.connection = Some(connection).filter(|_| !closes);
                Outcome::Answered(response)
            }
            Err(_) => Outcome::Broken,
        }
    }
}
