//! The sequence of faults and their durations, determined by the seed alone.

use std::fmt;
use std::time::Duration;

use support::proxy::Mode;

/// The names of all faults.
pub const FAULTS: &[&str] = &[
    "api-killed",
    "api-stopped",
    "api-frozen",
    "consumer-killed",
    "consumer-stopped",
    "consumer-frozen",
    "consumer-joins",
    "all-killed",
    "kafka-frozen",
    "kafka-killed",
    "kafka-stopped",
    "kafka-connection-of-api",
    "kafka-connection-of-consumers",
    "acknowledgement-lost",
    "database-frozen",
    "database-stopped",
    "database-read-only",
    "database-connection",
    "sessions-terminated",
    "table-locked",
    "commit-lost",
];

/// One fault.
pub struct Step {
    pub fault: &'static str,
    /// The pause before it.
    pub before: Duration,
    /// Its duration, where it has one.
    pub lasts: Duration,
    /// The mode of the proxy, for a fault of a connection.
    pub mode: Mode,
    /// The affected consumer.
    pub consumer: usize,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:.1} s", self.fault, self.lasts.as_secs_f64())?;
        if self.fault.contains("connection") {
            write!(f, ", {:?}", self.mode)?;
        }
        Ok(())
    }
}

/// The steps of one seed, without end.
pub struct Plan<'a> {
    state: u64,
    faults: &'a [&'static str],
}

impl<'a> Plan<'a> {
    pub fn new(seed: u64, faults: &'a [&'static str]) -> Plan<'a> {
        Plan {
            state: seed,
            faults,
        }
    }

    pub fn next(&mut self) -> Step {
        let number = self.below(self.faults.len() as u64);
        let fault = self.faults[usize::try_from(number).expect("an index fits")];
        let longest_ms = match fault {
            // Longer than the session timeout of a member and than the timeout of a lane.
            "consumer-frozen" => 20_000,
            "kafka-frozen" | "database-frozen" => 60_000,
            _ => 12_000,
        };
        let modes = [
            Mode::Reset,
            Mode::BlackHole,
            Mode::Delay(Duration::from_millis(200)),
            Mode::Slow(Duration::from_millis(50), 20_000),
        ];
        Step {
            fault,
            before: Duration::from_millis(500 + self.below(2_500)),
            lasts: Duration::from_millis(200 + self.below(longest_ms)),
            mode: modes[usize::try_from(self.below(4)).expect("an index fits")],
            consumer: usize::try_from(self.below(2)).expect("an index fits"),
        }
    }

    /// SplitMix64: small, and the same on every machine.
    fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
