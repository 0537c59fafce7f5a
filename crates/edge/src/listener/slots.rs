//! Who holds how many connections. Touched twice per connection, never per request.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use mcp_ultra_domain::limits::client;
use parking_lot::Mutex;

use super::metrics::{ListenerMetrics, Refusal};

/// The places that connections can take.
#[derive(Debug)]
pub(super) struct Slots {
    max_total: usize,
    max_per_client: usize,
    taken: Mutex<Taken>,
    metrics: Arc<ListenerMetrics>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

impl Slots {
    pub(super) fn new(
        max_total: usize,
        max_per_client: usize,
        metrics: Arc<ListenerMetrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            max_total,
            max_per_client,
            taken: Mutex::default(),
            metrics,
        })
    }

    /// Takes a place, to be given back by dropping it. One of an address that is `shared` by many
    /// clients counts for none of them.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, shared: bool) -> Result<Slot, Refusal> {
        let client = (!shared).then(|| client(address));
        let mut taken = self.taken.lock();
        if taken.total >= self.max_total {
            return Err(Refusal::Connections);
        }
        if let Some(client) = client {
            let held = taken.by_client.get(&client).copied().unwrap_or(0);
            if held >= self.max_per_client {
                return Err(Refusal::ConnectionsPerClient);
            }
            taken.by_client.insert(client, held + 1);
        }
        taken.total += 1;
        self.metrics.opened();
        Ok(Slot {
            client,
            slots: Arc::clone(self),
        })
    }
}

/// A place that one connection holds.
#[derive(Debug)]
pub(super) struct Slot {
    client: Option<IpAddr>,
    slots: Arc<Slots>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.total -= 1;
        if let Some(client) = self.client {
            match taken.by_client.get_mut(&client) {
                Some(held) if *held > 1 => *held -= 1,
                _ => {
                    taken.by_client.remove(&client);
                }
            }
        }
        self.slots.metrics.closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(total: usize, per_client: usize) -> Arc<Slots> {
        Slots::new(total, per_client, Arc::default())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_one_ipv6_slash_64_are_one_client() {
        let slots = slots(10, 1);
        let _held = slots.take(ip("2001:db8:1:2::1"), false).unwrap();
        assert_eq!(
            slots.take(ip("2001:db8:1:2:ffff::9"), false).unwrap_err(),
            Refusal::ConnectionsPerClient
        );
        assert!(slots.take(ip("2001:db8:1:3::1"), false).is_ok());
    }

    #[test]
    fn an_ipv4_mapped_address_is_the_ipv4_client() {
        let slots = slots(10, 1);
        let _held = slots.take(ip("192.0.2.7"), false).unwrap();
        assert_eq!(
            slots.take(ip("::ffff:192.0.2.7"), false).unwrap_err(),
            Refusal::ConnectionsPerClient
        );
        assert!(
            slots.take(ip("::ffff:192.0.2.8"), false).is_ok(),
            "mapped addresses share no /64"
        );
    }

    #[test]
    fn an_address_that_many_share_is_bounded_in_total_alone() {
        let slots = slots(3, 1);
        let held: Vec<_> = (0..3)
            .map(|_| slots.take(ip("192.0.2.1"), true).unwrap())
            .collect();
        assert!(slots.taken.lock().by_client.is_empty());
        assert_eq!(
            slots.take(ip("192.0.2.1"), true).unwrap_err(),
            Refusal::Connections
        );
        drop(held);
        let _own = slots.take(ip("192.0.2.1"), false).unwrap();
        assert_eq!(
            slots.take(ip("192.0.2.1"), false).unwrap_err(),
            Refusal::ConnectionsPerClient
        );
    }

    #[test]
    fn places_are_given_back_and_nothing_is_kept_for_clients_that_left() {
        let slots = slots(2, 2);
        let first = slots.take(ip("192.0.2.1"), false).unwrap();
        let second = slots.take(ip("192.0.2.1"), false).unwrap();
        assert_eq!(
            slots.take(ip("192.0.2.2"), false).unwrap_err(),
            Refusal::Connections
        );
        assert_eq!(slots.metrics.open(), 2);
        drop(first);
        assert!(slots.take(ip("192.0.2.2"), false).is_ok());
        drop(second);
        assert_eq!(slots.metrics.open(), 0);
        let taken = slots.taken.lock();
        assert_eq!(taken.total, 0);
        assert!(taken.by_client.is_empty());
    }
}
