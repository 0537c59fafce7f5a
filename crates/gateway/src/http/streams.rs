use std::{collections::HashMap, net::IpAddr, sync::Arc};

use mcp_ultra_domain::limits;
use parking_lot::Mutex;

/// How many long streams each client has open.
#[derive(Debug, Default, Clone)]
pub(crate) struct StreamSlots(Arc<Mutex<HashMap<Option<IpAddr>, usize>>>);

/// The place of one open stream; given back when dropped.
#[derive(Debug)]
pub(crate) struct StreamSlot {
    slots: StreamSlots,
    address: Option<IpAddr>,
}

impl StreamSlots {
    /// A place for a stream of `address`; `None` where it has `limit` already.
    pub(crate) fn enter(&self, address: Option<IpAddr>, limit: usize) -> Option<StreamSlot> {
        let address = address.map(limits::client);
        let mut slots = self.0.lock();
        let open = slots.entry(address).or_default();
        if *open >= limit {
            return None;
        }
        *open += 1;
        Some(StreamSlot {
            slots: self.clone(),
            address,
        })
    }

    /// How many streams are open.
    pub(crate) fn open(&self) -> usize {
        self.0.lock().values().sum()
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut slots = self.slots.0.lock();
        if let Some(open) = slots.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                slots.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let slots = StreamSlots::default();
        let a = slots.enter(None, 1).unwrap();
        assert!(slots.enter(None, 1).is_none());
        drop(a);
        assert_eq!(slots.open(), 0);
        assert!(slots.enter(None, 1).is_some());
    }

    #[test]
    fn addresses_of_one_client_share_its_places() {
        for (one, other, is_same) in [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::ffff:192.0.2.7", "192.0.2.7", true),
            ("::ffff:192.0.2.7", "::ffff:192.0.2.8", false),
        ] {
            let slots = StreamSlots::default();
            let enter = |address: &str| slots.enter(Some(address.parse().unwrap()), 1);
            let held = enter(one).unwrap();
            assert_eq!(enter(other).is_none(), is_same, "{one} {other}");
            drop(held);
            assert_eq!(slots.open(), 0);
        }
    }
}
