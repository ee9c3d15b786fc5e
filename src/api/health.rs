//! Readiness and liveness of the API.
//!
//! The API is unready only without its log. A cache that is not warm, an unavailable database and a full
//! body budget are reported, but do not make it unready.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::App;
use super::body_budget::BodyBudget;
use super::follower_progress::FollowerProgress;
use crate::admin::{Check, Health};
use crate::cache::OrderCache;
use crate::sync::lock;

/// The runtime is stuck when its heartbeat, once a second, is this late.
const STUCK_AFTER: Duration = Duration::from_secs(15);

/// A check whose result a thread reports.
pub struct CheckState(Mutex<Check>);

impl CheckState {
    pub fn new(name: &str, ok: bool, detail: &str) -> CheckState {
        CheckState(Mutex::new(check(name, ok, detail)))
    }

    pub fn set(&self, ok: bool, detail: &str) {
        let mut check = lock(&self.0);
        (check.ok, check.detail) = (ok, detail.into());
    }

    fn get(&self) -> Check {
        lock(&self.0).clone()
    }
}

/// How long a refused timestamp counts while no order is accepted: a load balancer sends none to an API
/// that is not ready, so it would stay unready when the clocks are right again.
const CLOCK_RETRY: Duration = Duration::from_secs(60);

/// Whether the log refuses orders because of a wrong clock.
#[derive(Default)]
pub struct Clock(Mutex<Option<(Instant, String)>>);

impl Clock {
    pub fn refused(&self, reason: &str) {
        *lock(&self.0) = Some((Instant::now(), reason.to_owned()));
    }

    pub fn accepted(&self) {
        *lock(&self.0) = None;
    }

    fn check(&self, now: Instant) -> Option<Check> {
        let refused = lock(&self.0);
        let (at, reason) = refused.as_ref()?;
        (now.saturating_duration_since(*at) < CLOCK_RETRY).then(|| check("clock", false, reason))
    }
}

impl Health for App {
    fn live(&self) -> Result<(), String> {
        self.heartbeat
            .check(STUCK_AFTER, "the runtime has not run a task")
    }

    fn ready(&self) -> Vec<Check> {
        let mut checks = vec![
            followed(&self.read_model.orders, true),
            followed(&self.read_model.replies, false),
            self.producer.get(),
            self.listener.get(),
            self.warm_up.get(),
            bodies(&self.body_budget),
            cache(&self.read_model.cache),
        ];
        checks.extend(self.clock.check(Instant::now()));
        // The log still works, but not for ever: unready now is better than a full disk later.
        let warning = self.log.warning();
        checks.extend(warning.map(|detail| check("log", false, detail)));
        checks
    }

    fn metrics(&self) -> String {
        self.metrics
            .text(&self.read_model, &self.connections, &self.body_budget)
    }
}

/// Whether a topic can be followed. A lag is reported and does not make the API unready.
fn followed(progress: &FollowerProgress, identity_matters: bool) -> Check {
    let name = format!("log `{}`", progress.topic);
    if let Some(failure) = progress.failure() {
        return check(&name, false, failure);
    }
    let mut detail = match progress.is_live(Instant::now()) {
        true => String::from("followed to its end"),
        false => format!("{} records behind", progress.lag()),
    };
    if identity_matters && !progress.topic_id().is_known() {
        detail += "; the broker has no topic ids, so a recreated topic is not detected";
    }
    check(&name, true, detail)
}

/// How much of the body budget is taken. The API stays ready even when it is nearly full, since there is
/// room for the clients that have taken little.
fn bodies(budget: &BodyBudget) -> Check {
    let mib = |bytes: usize| bytes >> 20;
    let taken = format!(
        "{} of {} MiB taken",
        mib(budget.taken()),
        mib(budget.limit())
    );
    let detail = match budget.is_nearly_full() {
        true => format!("nearly full, {taken}: the clients that take most are answered 503"),
        false => taken,
    };
    check("bodies", true, detail)
}

/// How many orders are answered without a lookup.
fn cache(cache: &OrderCache) -> Check {
    let entries = cache.entries();
    let end = if entries == 1 { "" } else { "s" };
    check("cache", true, format!("{entries} order{end}"))
}

fn check(name: &str, ok: bool, detail: impl Into<String>) -> Check {
    Check {
        name: name.into(),
        ok,
        detail: detail.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_named_until_an_order_is_accepted_or_a_minute_has_passed() {
        let clock = Clock::default();
        let check_after = |pause| clock.check(Instant::now() + pause);
        assert!(check_after(Duration::ZERO).is_none());
        clock.refused("set it");
        let check = check_after(CLOCK_RETRY / 2).unwrap();
        assert_eq!((check.ok, check.detail.as_str()), (false, "set it"));
        assert!(check_after(CLOCK_RETRY).is_none());
        clock.accepted();
        assert!(check_after(Duration::ZERO).is_none());
    }
}
