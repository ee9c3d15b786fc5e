//! The poster: a process that posts orders and keeps a durable record of every answer.
//!
//! It is the running program, started once more: any program that calls [`work`] first, or whose
//! test `poster_process` does. On request it also reads: what it was promised once, a GET must never take back.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Record;
use crate::http::{Connection, Response};
use crate::orders::order_version;
use crate::{Env, PATIENCE, eventually};

const TASK: &str = "ORDERS_TEST_POSTER";

/// What a poster is to do.
#[derive(Clone, Debug)]
pub struct Task {
    /// `host:port` of the API, which must keep it over restarts.
    pub authority: String,
    /// Begins every uid, so that several posters do not meet.
    pub prefix: String,
    /// How many orders to get accepted; about a quarter are newer versions of earlier ones.
    pub orders: u32,
    /// One request in this many is an order that must be refused; 0 for none.
    pub poison_every: u32,
}

/// A running poster.
pub struct Poster {
    child: Child,
    path: PathBuf,
}

impl Poster {
    /// Posts as fast as it is answered, and reads nothing.
    pub fn start(env: &Env, task: &Task) -> Poster {
        Poster::begin(env, task, None)
    }

    /// Posts one order each `pace`, and holds every fourth answer against what GET says.
    pub fn start_reading(env: &Env, task: &Task, pace: Duration) -> Poster {
        Poster::begin(env, task, Some(pace))
    }

    fn begin(env: &Env, task: &Task, pace: Option<Duration>) -> Poster {
        let path = env.path().join(format!("{}.record", task.prefix));
        let pace = pace.map_or_else(|| "-".to_owned(), |pace| pace.as_millis().to_string());
        let line = format!(
            "{} {} {} {} {pace} {}",
            task.authority,
            task.prefix,
            task.orders,
            task.poison_every,
            path.display()
        );
        let child = Command::new(std::env::current_exe().expect("a program knows itself"))
            .args(["auditor::poster_process", "--exact", "--nocapture"])
            .env(TASK, line)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the test binary can be started");
        Poster { child, path }
    }

    /// How many orders have been accepted so far.
    pub fn accepted(&self) -> usize {
        fs::read_to_string(&self.path)
            .unwrap_or_default()
            .lines()
            .filter(|line| line.starts_with("accepted "))
            .count()
    }

    /// Whether the last answer that it wrote down was no 202.
    pub fn is_refused(&self) -> bool {
        let record = fs::read_to_string(&self.path).unwrap_or_default();
        let last = record.strip_suffix('\n').unwrap_or_default();
        let last = last.lines().next_back().unwrap_or_default();
        last.starts_with("refused ") || last.starts_with("unknown ")
    }

    pub fn wait_for_accepted(&self, orders: usize, within: Duration) {
        eventually(format!("{orders} accepted orders"), within, || {
            (self.accepted() >= orders).then_some(())
        });
    }

    /// Stops it where it is, be it in the middle of a request, until `resume`.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        // One that has posted everything may have ended.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Lets it finish the order it is at, until it is accepted, and then wait for `go_on`.
    pub fn hold(&self) {
        eventually("the poster to have gone on", PATIENCE, || {
            (!sign(&self.path, "held").exists()).then_some(())
        });
        File::create(sign(&self.path, "hold")).expect("the folder is writable");
    }

    pub fn wait_until_held(&self, within: Duration) {
        eventually("the poster to wait", within, || {
            sign(&self.path, "held").exists().then_some(())
        });
    }

    pub fn go_on(&self) {
        // One that was never held has no such file.
        let _ = fs::remove_file(sign(&self.path, "hold"));
    }

    /// What it was answered so far; exact only while it is held.
    pub fn record(&self) -> Record {
        Record::read(&self.path)
    }

    /// Whether it still does its work; one that was told something untrue has ended.
    pub fn is_well(&mut self) -> bool {
        let ended = self.child.try_wait().expect("it can be asked");
        ended.is_none_or(|status| status.success())
    }

    /// Ends it after the order it is at.
    pub fn end(self, within: Duration) -> Record {
        File::create(sign(&self.path, "end")).expect("the folder is writable");
        self.go_on();
        self.finish(within)
    }

    /// Waits until everything is posted.
    pub fn finish(mut self, within: Duration) -> Record {
        let status = eventually("the poster to finish", within, || {
            self.child.try_wait().expect("it can be asked")
        });
        assert!(status.success(), "the poster ended with {status}");
        Record::read(&self.path)
    }
}

impl Drop for Poster {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn sign(record: &Path, name: &str) -> PathBuf {
    record.with_extension(name)
}

/// Does the work of a poster when this process was started as one; whether it was.
pub fn work() -> bool {
    let Ok(line) = std::env::var(TASK) else {
        return false;
    };
    let words: Vec<&str> = line.splitn(6, ' ').collect();
    let [authority, prefix, orders, poison_every, pace, path] = words[..] else {
        panic!("not a task: {line}")
    };
    let task = Task {
        authority: authority.to_owned(),
        prefix: prefix.to_owned(),
        orders: orders.parse().expect("a number of orders"),
        poison_every: poison_every.parse().expect("a number of requests"),
    };
    Posting {
        record: File::create(path).expect("the record can be made"),
        path: PathBuf::from(path),
        pace: pace.parse().ok().map(Duration::from_millis),
        connection: None,
        versions: Vec::new(),
        task,
    }
    .run();
    true
}

/// What became of one request.
enum Answer {
    /// There was no connection: nothing was sent.
    Unsent,
    /// The connection broke before the answer.
    Broken,
    Heard(Response),
}

struct Posting {
    task: Task,
    record: File,
    path: PathBuf,
    pace: Option<Duration>,
    connection: Option<Connection>,
    /// The newest accepted version of each order.
    versions: Vec<u32>,
}

impl Posting {
    fn run(mut self) {
        // Three new orders, then a newer version of one of the earlier ones.
        let mut chosen = 7_usize;
        for number in 0..self.task.orders {
            chosen = chosen.wrapping_mul(1_103_515_245).wrapping_add(12_345) % 1_000_003;
            let index = if number % 4 == 3 {
                chosen % self.versions.len()
            } else {
                self.versions.push(0);
                self.versions.len() - 1
            };
            if self.task.poison_every > 0 && number % self.task.poison_every == 0 {
                self.post_poison(number);
            }
            self.post_until_accepted(index, self.versions[index] + 1);
            self.versions[index] += 1;
            if let Some(pace) = self.pace {
                if number % 4 == 0 {
                    self.read_back(chosen % self.versions.len());
                }
                thread::sleep(pace);
            }
            if !self.goes_on() {
                return;
            }
        }
    }

    /// Waits while it is held; false when it is to end.
    fn goes_on(&self) -> bool {
        if sign(&self.path, "hold").exists() {
            let held = sign(&self.path, "held");
            File::create(&held).expect("the folder is writable");
            while sign(&self.path, "hold").exists() {
                thread::sleep(Duration::from_millis(10));
            }
            fs::remove_file(held).expect("the folder is writable");
        }
        !sign(&self.path, "end").exists()
    }

    fn post_until_accepted(&mut self, index: usize, version: u32) {
        let uid = format!("{}-{index}", self.task.prefix);
        let body = order_version(&uid, version).to_string();
        let deadline = Instant::now() + PATIENCE * 4;
        loop {
            let answer = match self.post(body.as_bytes()) {
                Answer::Unsent => "refused",
                Answer::Broken => "unknown",
                Answer::Heard(answer) => match answer.status {
                    202 => "accepted",
                    503 | 507 if answer.text().contains("not_accepted") => "refused",
                    503 => "unknown",
                    status => panic!("`{uid}` was answered {status}: {}", answer.text()),
                },
            };
            writeln!(self.record, "{answer} {uid} {version}").expect("the record can be written");
            self.record
                .sync_data()
                .expect("the record can be made durable");
            if answer == "accepted" {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "`{uid}` was not accepted in time"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn post_poison(&mut self, number: u32) {
        let body = format!(
            "{{\"order_uid\":\"{}-poison-{number}\",\"payment\":{{\"amount\":\"x\"}}}}",
            self.task.prefix
        );
        if let Answer::Heard(answer) = self.post(body.as_bytes()) {
            assert!(
                matches!(answer.status, 422 | 503),
                "poison was answered {}: {}",
                answer.status,
                answer.text()
            );
        }
    }

    /// An accepted order is there, in that version or a newer one, unless the answer says that this
    /// cannot be known now.
    fn read_back(&mut self, index: usize) {
        let (uid, accepted) = (
            format!("{}-{index}", self.task.prefix),
            self.versions[index],
        );
        let Answer::Heard(answer) = self.ask(|it| it.get(&format!("/api/order/{uid}"))) else {
            return;
        };
        let is_sure = answer.header("order-behind").is_none()
            && !answer
                .header("cache-status")
                .is_some_and(|status| status.contains("unverified"));
        match answer.status {
            200 if is_sure => {
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

    fn post(&mut self, body: &[u8]) -> Answer {
        self.ask(|connection| connection.post("/orders", body))
    }

    fn ask(&mut self, ask: impl FnOnce(&mut Connection) -> std::io::Result<Response>) -> Answer {
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.task.authority),
        };
        let Ok(mut connection) = connection else {
            return Answer::Unsent;
        };
        match ask(&mut connection) {
            Ok(response) => {
                let closes = response
                    .header("connection")
                    .is_some_and(|value| value.eq_ignore_ascii_case("close"));
                self.connection = Some(connection).filter(|_| !closes);
                Answer::Heard(response)
            }
            Err(_) => Answer::Broken,
        }
    }
}
