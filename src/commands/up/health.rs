//! The health of API and consumer together.

use std::sync::Arc;

use crate::admin::{Check, Health};

/// Both services of the process: ready and live when both are.
pub(super) struct Both {
    parts: [(&'static str, Arc<dyn Health>); 2],
}

impl Both {
    pub(super) fn new(api: Arc<dyn Health>, consumer: Arc<dyn Health>) -> Both {
        Both {
            parts: [("api", api), ("consumer", consumer)],
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready().iter().all(|check| check.ok)
    }
}

impl Health for Both {
    fn live(&self) -> Result<(), String> {
        for (name, part) in &self.parts {
            part.live().map_err(|reason| format!("{name}: {reason}"))?;
        }
        Ok(())
    }

    fn ready(&self) -> Vec<Check> {
        let of_part = |(name, part): &(&str, Arc<dyn Health>)| {
            let named = |check: Check| Check {
                name: format!("{name} {}", check.name),
                ..check
            };
            part.ready().into_iter().map(named).collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(of_part).collect()
    }

    fn metrics(&self) -> String {
        self.parts.iter().map(|(_, part)| part.metrics()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Part(bool);

    impl Health for Part {
        fn live(&self) -> Result<(), String> {
            if self.0 { Ok(()) } else { Err("stuck".into()) }
        }

        fn ready(&self) -> Vec<Check> {
            vec![Check {
                name: "log".into(),
                ok: self.0,
                detail: "detail".into(),
            }]
        }

        fn metrics(&self) -> String {
            "a 1\n".into()
        }
    }

    #[test]
    fn an_unhealthy_part_makes_both_unready_and_is_reported_by_name() {
        let both = Both::new(Arc::new(Part(true)), Arc::new(Part(false)));
        assert!(!both.is_ready());
        assert_eq!(both.live(), Err("consumer: stuck".into()));
        let names: Vec<String> = both.ready().into_iter().map(|check| check.name).collect();
        assert_eq!(names, ["api log", "consumer log"]);
    }

    #[test]
    fn the_metrics_of_both_are_one_exposition() {
        let both = Both::new(Arc::new(Part(true)), Arc::new(Part(true)));
        assert_eq!(both.metrics(), "a 1\na 1\n");
    }
}
