//! The memory that the bodies of requests may take together, and what one client may take of it.
//!
//! Owns the rule that grants more. A grant is charged for what has arrived, never for what a head
//! announces.
//!
//! # Invariants
//!
//! A client gets no more than three times of what remains free: alone three quarters of the budget.
//! So each client that takes all it can leaves a quarter of what it found free, for others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use prometheus_client::metrics::counter::Counter;

use crate::sync::lock;

/// How many times of what remains free a client may have.
const SHARE: usize = 3;

/// The budget of one service.
pub struct BodyBudget {
    limit: usize,
    taken: Mutex<Taken>,
    /// Requests that were refused because their client had its share.
    pub refused: Counter,
}

#[derive(Default)]
struct Taken {
    total: usize,
    /// Only clients that have something: bounded by the connections.
    by_client: HashMap<IpAddr, usize>,
}

/// The client has its share of the budget.
#[derive(Debug, PartialEq, Eq)]
pub struct ShareTaken;

impl BodyBudget {
    pub fn new(limit: usize) -> Arc<BodyBudget> {
        Arc::new(BodyBudget {
            limit,
            taken: Mutex::default(),
            refused: Counter::default(),
        })
    }

    /// An empty grant for a client.
    pub fn grant(self: &Arc<BodyBudget>, client: IpAddr) -> Grant {
        Grant {
            budget: self.clone(),
            client: network(client),
            bytes: 0,
        }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes are taken now.
    pub fn taken(&self) -> usize {
        lock(&self.taken).total
    }

    /// Whether so much is taken that a client may have its share.
    pub fn is_nearly_full(&self) -> bool {
        self.taken() >= self.limit / 3 * 2
    }
}

/// A share of the budget, returned when it is dropped.
pub struct Grant {
    budget: Arc<BodyBudget>,
    client: IpAddr,
    bytes: usize,
}

impl Grant {
    /// Makes it at least so large.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), ShareTaken> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut taken = lock(&self.budget.taken);
        let total = taken.total + more;
        let of_client = taken.by_client.get(&self.client).copied().unwrap_or(0) + more;
        if of_client > SHARE * self.budget.limit.saturating_sub(total) {
            self.budget.refused.inc();
            return Err(ShareTaken);
        }
        taken.total = total;
        taken.by_client.insert(self.client, of_client);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = lock(&self.budget.taken);
        taken.total -= self.bytes;
        if let Some(of_client) = taken.by_client.get_mut(&self.client) {
            *of_client -= self.bytes;
            if *of_client == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

/// What counts as one client: an address, or a network of 64 bits, which one host may have whole.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Takes as much as one client gets, 1 byte at a time.
    fn take_all(budget: &Arc<BodyBudget>, address: &str) -> Grant {
        let mut grant = budget.grant(client(address));
        let mut bytes = 0;
        while grant.grow_to(bytes + 1).is_ok() {
            bytes += 1;
        }
        grant
    }

    #[test]
    fn one_client_gets_three_quarters_and_leaves_room_for_others() {
        let budget = BodyBudget::new(6_400);
        let first = take_all(&budget, "10.0.0.1");
        assert_eq!(first.bytes, 4_800);
        assert!(budget.grant(client("10.0.0.1")).grow_to(1).is_err());
        assert!(budget.grant(client("10.0.0.2")).grow_to(1_200).is_ok());
        let greedy: Vec<Grant> = (2..6)
            .map(|number| take_all(&budget, &format!("10.0.0.{number}")))
            .collect();
        assert!(budget.is_nearly_full());
        assert!(budget.grant(client("10.0.1.1")).grow_to(1).is_ok());
        assert_eq!(budget.refused.get(), 6);
        drop((first, greedy));
        assert_eq!(budget.taken(), 0);
        assert!(lock(&budget.taken).by_client.is_empty());
    }

    #[test]
    fn a_grant_is_only_ever_made_larger() {
        let budget = BodyBudget::new(100);
        let mut grant = budget.grant(client("10.0.0.1"));
        for (bytes, taken) in [(10, 10), (5, 10), (20, 20), (99, 20)] {
            let _ = grant.grow_to(bytes);
            assert_eq!(budget.taken(), taken);
        }
    }

    #[test]
    fn addresses_of_one_host_are_one_client() {
        assert_eq!(network(client("::ffff:10.0.0.1")), client("10.0.0.1"));
        assert_eq!(
            network(client("2001:db8::1")),
            network(client("2001:db8::2"))
        );
        assert_ne!(
            network(client("2001:db8::1")),
            network(client("2001:db8:0:1::1"))
        );
    }
}
