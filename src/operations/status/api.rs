//! The parts `api` and `service`: those of this machine by their control sockets, others by their URL.

use super::{Answer, Part, State};
use crate::admin::{Check, ServiceStatus};
use crate::operations::services::{Service, uptime};

const FIX: &str = "orders serve-api";

/// How a service answers that is known by its URL alone.
#[derive(Clone, Debug)]
pub struct Probed {
    pub url: String,
    /// The status and the text of the answer.
    pub answer: Answer<(u16, String)>,
}

/// The APIs of this machine, by their control sockets.
pub fn of_this_machine(services: &Answer<Vec<Service<ServiceStatus>>>) -> Vec<Part> {
    let services = match services {
        Ok(services) => services,
        Err(why) => {
            let detail = format!("the search for services of this machine {why}");
            let part = Part::new("api", State::Warn, detail).fix("orders config --running");
            return vec![part];
        }
    };
    let apis = services.iter().filter(|it| it.role != "consumer");
    apis.map(|service| match &service.answer {
        Ok(status) => answering(status),
        Err(why) => {
            let detail = format!("{} (pid {}) {why}", service.role, service.pid);
            let fix = format!("end process {}, then: {FIX}", service.pid);
            Part::new("api", State::Fail, detail).fix(fix)
        }
    })
    .collect()
}

fn answering(status: &ServiceStatus) -> Part {
    let address = match status.addresses.api {
        Some(address) => format!("http://{address}"),
        None => status.role.clone(),
    };
    let checks = checks_of(status, "api");
    let failing: Vec<String> = failing(&checks);
    let (version, pid, up) = (&status.version, status.pid, uptime(status.uptime_s));
    let cache = checks.iter().find(|(name, _)| *name == "cache");
    let cache = cache.map(|(_, check)| format!(", cache {}", check.detail));
    let about = format!("{version}, up {up}{}, pid {pid}", cache.unwrap_or_default());
    match failing.is_empty() {
        true => Part::ok("api", format!("{address} ready, {about}")),
        false => {
            let detail = format!("{address} not ready, {about}; {}", failing.join("; "));
            let fix = format!("curl http://{}/readyz?verbose", status.addresses.admin);
            Part::new("api", State::Fail, detail).fix(fix)
        }
    }
}

/// The API at a URL, by `/healthz`.
pub fn of_url(probed: &Probed) -> Part {
    let url = &probed.url;
    match &probed.answer {
        Ok((200, _)) => Part::ok("api", format!("{url} answers")),
        Ok((status, _)) => {
            let detail = format!("{url} is not the orders API (status {status})");
            Part::new("api", State::Fail, detail).fix(FIX)
        }
        Err(why) => Part::new("api", State::Fail, format!("{url} {why}")).fix(FIX),
    }
}

/// The service at the URL of its operators' port, by `/readyz`.
pub fn of_admin(probed: &Probed) -> Part {
    let url = &probed.url;
    let failed = |why: String| {
        let fix = format!("curl {url}/readyz?verbose");
        Part::new("service", State::Fail, format!("{url} {why}")).fix(fix)
    };
    match &probed.answer {
        Ok((200, _)) => Part::ok("service", format!("{url} ready")),
        Ok((503, text)) => failed(format!("not ready: {text}")),
        Ok((status, _)) => failed(format!("is no operators' port (status {status})")),
        Err(why) => failed(why.clone()),
    }
}

/// The checks that the consumers of this machine report as failing.
pub fn failing_of_consumers(services: &[Service<ServiceStatus>]) -> Vec<String> {
    let consumers = services.iter().filter(|it| it.role != "api");
    consumers
        .flat_map(|service| match &service.answer {
            Ok(status) => failing(&checks_of(status, "consumer")),
            // Already said of the API in the same process.
            Err(_) if service.role == "up" => Vec::new(),
            Err(why) => vec![format!("process {} {why}", service.pid)],
        })
        .collect()
}

/// The checks of one of the services of a process, without the prefix that `orders up` adds.
fn checks_of<'s>(status: &'s ServiceStatus, service: &str) -> Vec<(&'s str, &'s Check)> {
    let own = |check: &'s Check| match status.role.as_str() {
        "up" => {
            let name = check.name.strip_prefix(service)?.strip_prefix(' ')?;
            Some((name, check))
        }
        _ => Some((check.name.as_str(), check)),
    };
    status.checks.iter().filter_map(own).collect()
}

/// What the failing checks say; those that say the same thing say it once.
fn failing(checks: &[(&str, &Check)]) -> Vec<String> {
    let mut said: Vec<(Vec<&str>, &str)> = Vec::new();
    for (name, check) in checks.iter().filter(|(_, check)| !check.ok) {
        match said.iter_mut().find(|(_, detail)| *detail == check.detail) {
            Some((names, _)) => names.push(name),
            None => said.push((vec![name], &check.detail)),
        }
    }
    let sentence = |(names, detail): &(Vec<&str>, &str)| format!("{}: {detail}", names.join(", "));
    said.iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Addresses;

    fn service(role: &str, checks: &[(&str, bool)]) -> Service<ServiceStatus> {
        let check = |(name, ok): &(&str, bool)| Check {
            name: (*name).into(),
            ok: *ok,
            detail: "so".into(),
        };
        let status = ServiceStatus {
            role: role.into(),
            version: "0.2.0".into(),
            pid: 7,
            uptime_s: 10_800,
            addresses: Addresses {
                api: Some(([127, 0, 0, 1], 80).into()),
                admin: ([127, 0, 0, 1], 81).into(),
            },
            checks: checks.iter().map(check).collect(),
        };
        Service {
            role: role.into(),
            pid: 7,
            answer: Ok(status),
        }
    }

    #[test]
    fn a_service_of_this_machine_is_as_ready_as_it_says() {
        let ready = service("api", &[("log", true), ("cache", true)]);
        let part = of_this_machine(&Ok(vec![ready])).remove(0);
        let expected = "http://127.0.0.1:80 ready, 0.2.0, up 3 h, cache so, pid 7";
        assert_eq!((part.state, part.detail.as_str()), (State::Ok, expected));

        let both = service("up", &[("api log", true), ("consumer database", false)]);
        assert_eq!(of_this_machine(&Ok(vec![both.clone()]))[0].state, State::Ok);
        assert_eq!(failing_of_consumers(&[both]), ["database: so"]);

        let mut silent = service("consumer", &[]);
        silent.answer = Err("did not answer within 800 ms".into());
        assert_eq!(of_this_machine(&Ok(vec![silent.clone()])), []);
        let failing = failing_of_consumers(&[silent]);
        assert_eq!(failing, ["process 7 did not answer within 800 ms"]);
    }

    #[test]
    fn checks_that_fail_for_one_reason_name_it_once() {
        let check = |name: &str, detail: &str| Check {
            name: name.into(),
            detail: detail.into(),
            ok: false,
        };
        let checks = [
            check("partition 0", "away"),
            check("lookups", "late"),
            check("partition 1", "away"),
        ];
        let checks: Vec<_> = checks.iter().map(|it| (it.name.as_str(), it)).collect();
        let expected = ["partition 0, partition 1: away", "lookups: late"];
        assert_eq!(failing(&checks), expected);
    }

    #[test]
    fn a_url_that_does_not_answer_as_expected_fails() {
        let probed = |answer| Probed {
            url: "http://a:1".into(),
            answer,
        };
        let ok = probed(Ok((200, "ok".into())));
        assert_eq!(
            (of_url(&ok).state, of_admin(&ok).state),
            (State::Ok, State::Ok)
        );
        let unready = of_admin(&probed(Ok((503, "FAIL database: away".into()))));
        assert_eq!(unready.detail, "http://a:1 not ready: FAIL database: away");
        let other = of_url(&probed(Ok((404, String::new()))));
        assert_eq!(
            other.detail,
            "http://a:1 is not the orders API (status 404)"
        );
        assert_eq!(other.fix.as_deref(), Some("orders serve-api"));
    }
}
