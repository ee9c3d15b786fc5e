//! The resources of a child, from /proc: memory, processor time, descriptors, threads.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, prlimit};

use super::{Output, Process};
use crate::{TIMEOUT, http, wait_until};

/// The bounds of a service under every fault: far above what it needs, far below unbounded growth.
const MAX_RESIDENT: u64 = 256 << 20;
const MAX_DESCRIPTORS: usize = 300;
const MAX_THREADS: usize = 120;

/// TCP_LISTEN in /proc/net/tcp.
const LISTENING: &str = "0A";

impl Process {
    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The peak of resident memory in bytes.
    pub fn peak_resident_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Waits for the end of a command; returns its result, and the peak of its resident memory in
    /// bytes as it was some milliseconds before the end.
    pub fn finished_with_peak(&mut self, within: Duration) -> (Output, u64) {
        let (deadline, mut peak) = (Instant::now() + within, 0);
        while self.is_running() && Instant::now() < deadline {
            peak = self.try_memory("VmHWM:").unwrap_or(peak);
            thread::sleep(Duration::from_millis(5));
        }
        let status = self.wait_exit(Duration::ZERO);
        (self.output(status), peak)
    }

    fn memory(&self, field: &str) -> u64 {
        self.try_memory(field).expect("the child exists")
    }

    /// `None` after its end.
    fn try_memory(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>();
        Some(kib.expect("memory is a number") * 1024)
    }

    /// Processor time used so far, in user and kernel mode.
    pub fn processor_time(&self) -> Duration {
        let stat = stat(self.id()).expect("the child exists");
        let ticks = stat[11..13].iter().map(|it| it.parse::<u64>());
        let ticks: u64 = ticks.map(|it| it.expect("a number")).sum();
        // Linux reports a hundred ticks per second here on every machine.
        Duration::from_millis(ticks * 10)
    }

    /// Panics when the service uses more than this share of a processor over the next two seconds.
    pub fn assert_idle(&self, limit: f64) {
        const WATCHED: Duration = Duration::from_secs(2);
        let (began, before) = (Instant::now(), self.processor_time());
        wait_until("two seconds to pass", TIMEOUT, || {
            began.elapsed() >= WATCHED
        });
        let worked = self.processor_time() - before;
        let share = worked.as_secs_f64() / began.elapsed().as_secs_f64();
        println!("`{}` used {share:.2} of a processor", self.name);
        assert!(
            share <= limit,
            "`{}` uses {share:.2} of a processor while idle",
            self.name
        );
    }

    pub fn descriptors(&self) -> usize {
        self.entries("fd")
    }

    /// The number of the next descriptor; a limit of this many allows no further one.
    pub fn first_free_descriptor(&self) -> u64 {
        let folder = format!("/proc/{}/fd", self.id());
        let is_open = |number: &u64| fs::read_link(format!("{folder}/{number}")).is_ok();
        let free = (0..).find(|number| !is_open(number));
        free.expect("the numbers do not end")
    }

    pub fn threads(&self) -> usize {
        self.entries("task")
    }

    fn entries(&self, folder: &str) -> usize {
        let entries = fs::read_dir(format!("/proc/{}/{folder}", self.id()));
        entries.expect("the child exists").count()
    }

    /// Sets the soft limit of descriptors; open ones stay open. The hard limit stays, so that the soft
    /// limit can be raised again.
    pub fn limit_descriptors(&self, current: u64) {
        let before = prlimit(
            Some(self.pid()),
            Resource::Nofile,
            Rlimit {
                current: Some(current),
                maximum: self.descriptor_limits().1,
            },
        );
        before.expect("the soft limit can be changed");
    }

    /// Soft and hard limit.
    pub fn descriptor_limits(&self) -> (Option<u64>, Option<u64>) {
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.id()));
        let limits = limits.expect("the child exists");
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))
            .expect("the limit is always present");
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        let mut number = || numbers.next().expect("there are two limits");
        (number(), number())
    }

    /// The TCP ports it listens on.
    pub fn listening_ports(&self) -> Vec<u16> {
        let folder = format!("/proc/{}/fd", self.id());
        let links = fs::read_dir(folder).expect("the process runs");
        let links = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
        let sockets: Vec<String> = links
            .filter_map(|link| {
                let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                Some(inode.to_owned())
            })
            .collect();
        let tables = ["tcp", "tcp6"].map(|name| {
            fs::read_to_string(format!("/proc/{}/net/{name}", self.id())).unwrap_or_default()
        });
        let rows = tables.iter().flat_map(|table| table.lines().skip(1));
        let listening = rows.filter_map(|row| {
            // Number, local and remote address, state, five more, the inode.
            let fields: Vec<&str> = row.split_whitespace().collect();
            let is_own = sockets.iter().any(|inode| inode == fields[9]);
            let (_, port) = fields[1].rsplit_once(':')?;
            (fields[3] == LISTENING && is_own).then(|| u16::from_str_radix(port, 16).ok())?
        });
        listening.collect()
    }

    /// The value of a count, by its name and labels.
    pub fn metric(&self, name: &str) -> u64 {
        let value = self.find_metric(name);
        value.unwrap_or_else(|text| panic!("no metric `{name}` in\n{text}")) as u64
    }

    /// The value of a metric, by its name and labels; everything that is there when it is not.
    pub fn find_metric(&self, name: &str) -> Result<f64, String> {
        let text = http::get(&format!("{}/metrics", self.admin_url())).text();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.map(|value| value.parse().expect("a number"));
        value.ok_or(text)
    }

    /// Waits until a metric without labels is at least so much.
    pub fn wait_for_metric(&self, name: &str, least: u64) {
        wait_until(format!("`{name}` to be {least}"), TIMEOUT, || {
            self.metric(name) >= least
        });
    }

    /// Panics when the service uses more than any load may cost.
    pub fn assert_bounded(&self) {
        self.assert_bounded_but_for(0);
    }

    /// The same while so many connections are open.
    pub fn assert_bounded_but_for(&self, connections: usize) {
        let used = (self.resident_bytes(), self.descriptors(), self.threads());
        let bounds = (MAX_RESIDENT, MAX_DESCRIPTORS + connections, MAX_THREADS);
        let is_within = used.0 <= bounds.0 && used.1 <= bounds.1 && used.2 <= bounds.2;
        assert!(
            is_within,
            "`{}` uses (bytes, descriptors, threads) {used:?}, more than {bounds:?}",
            self.name
        );
    }
}

/// The state letter of a process (`T` is stopped).
pub fn process_state(pid: u32) -> Option<char> {
    stat(pid)?[0].chars().next()
}

/// The fields of /proc/PID/stat after the name in parentheses: state, parent and so on.
pub(crate) fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, parentheses too.
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}
