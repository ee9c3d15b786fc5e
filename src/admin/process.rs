//! The metrics of the process that Prometheus' own clients have, from /proc; without one there are none.

use std::fs;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::metrics::register;

/// Linux counts processor time for programs in hundredths of a second, on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// Registers what the process uses now.
pub fn register_all(to: &mut Registry) {
    let Some(stat) = read_stat() else {
        return;
    };
    let help = "Processor time used, in user and kernel mode";
    let cpu: Counter<f64, AtomicU64> = register(to, "process_cpu_seconds", help);
    cpu.inc_by(stat.cpu_seconds);
    if let Some(started) = boot_time() {
        let help = "When the process started, in seconds since the epoch";
        let gauge: Gauge<f64, AtomicU64> = register(to, "process_start_time_seconds", help);
        gauge.set(started + stat.started_after_boot);
    }
    if let Some(bytes) = resident_bytes() {
        let help = "Resident memory";
        let gauge: Gauge = register(to, "process_resident_memory_bytes", help);
        gauge.set(bytes);
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        let gauge: Gauge = register(to, "process_open_fds", "Open file descriptors");
        // Without the one by which the folder is read.
        let open = descriptors.count().saturating_sub(1);
        gauge.set(i64::try_from(open).unwrap_or(i64::MAX));
    }
}

struct Stat {
    cpu_seconds: f64,
    started_after_boot: f64,
}

fn read_stat() -> Option<Stat> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name may contain anything, parentheses too.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let seconds = |field: usize| Some(fields.get(field)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some(Stat {
        cpu_seconds: seconds(11)? + seconds(12)?,
        started_after_boot: seconds(19)?,
    })
}

/// Seconds since the epoch.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}
