//! The limit on descriptors, and how many connections fit below it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors that are left to the clients of log and database, and to files.
const OTHERS: u64 = 256;

/// Raises the soft limit to the hard one; the limit from then on, `None` without one.
pub fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// How many of the wanted connections fit below the limit, which is raised first.
pub fn max_connections(wanted: usize) -> usize {
    let Some(limit) = raise_limit() else {
        return wanted;
    };
    let most = usize::try_from(connections_below(limit)).unwrap_or(usize::MAX);
    if wanted > most {
        warn!(
            "accepting at most {most} connections at once, not {wanted}: the descriptor limit is {limit}"
        );
    }
    wanted.min(most)
}

fn connections_below(limit: u64) -> u64 {
    limit.saturating_sub(OTHERS.min(limit / 2)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest_of_the_process() {
        let limits = [64, 128, 1_024, 1_048_576];
        assert_eq!(limits.map(connections_below), [32, 64, 768, 1_048_320]);
    }
}
