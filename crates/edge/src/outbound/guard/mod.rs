//! Where the gateway may connect to. It is asked with addresses and not with names: what a name
//! server said is checked before it is used, and nothing else is connected to, so that a name that
//! resolves differently the next time (DNS rebinding) gains nothing.
//!
//! - `class`: what an address leads to

mod class;

use std::{net::IpAddr, sync::Arc};

use mcp_ultra_config::Network;

pub use self::class::{Class, class_of};

/// Who has named the host that is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// The operator, in the configuration: loopback and private networks are fine.
    Operator,
    /// A document that somebody else has written: public addresses only.
    Found,
}

/// Decides about addresses.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    reach: Reach,
    allowed: Arc<[Network]>,
}

/// The address is not one to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {}", .class.description())]
pub(super) struct ForbiddenAddress {
    address: IpAddr,
    class: Class,
}

impl Guard {
    /// `allowed` may be connected to whatever they are.
    pub(super) fn new(reach: Reach, allowed: &[Network]) -> Self {
        Self {
            reach,
            allowed: allowed.into(),
        }
    }

    pub(super) fn check(&self, address: IpAddr) -> Result<(), ForbiddenAddress> {
        let class = class_of(address);
        let fine = match class {
            Class::Public => true,
            Class::Internal => self.reach == Reach::Operator,
            _ => false,
        };
        if fine || self.allowed.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        Err(ForbiddenAddress { address, class })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(reach: Reach, allowed: &[&str], address: &str) -> bool {
        let allowed: Vec<Network> = allowed.iter().map(|text| text.parse().unwrap()).collect();
        Guard::new(reach, &allowed)
            .check(address.parse().unwrap())
            .is_ok()
    }

    #[test]
    fn the_operator_reaches_the_inside_and_others_do_not() {
        for inside in ["127.0.0.1", "10.1.2.3", "::1", "fd12::1", "100.64.0.1"] {
            assert!(may(Reach::Operator, &[], inside), "{inside}");
            assert!(!may(Reach::Found, &[], inside), "{inside}");
        }
        for outside in ["1.1.1.1", "2606:4700::1111"] {
            assert!(may(Reach::Found, &[], outside), "{outside}");
        }
    }

    #[test]
    fn nobody_reaches_metadata_unless_it_is_allowed() {
        for address in ["169.254.169.254", "fd00:ec2::254", "fe80::1", "0.0.0.0"] {
            for reach in [Reach::Operator, Reach::Found] {
                assert!(!may(reach, &[], address), "{address}");
                assert!(!may(reach, &["10.0.0.0/8"], address), "{address}");
                assert!(may(reach, &[address], address), "{address}");
            }
        }
        assert!(may(Reach::Found, &["10.0.0.0/8"], "10.9.9.9"));
        assert!(!may(Reach::Found, &["10.0.0.0/8"], "192.168.0.1"));
    }

    #[test]
    fn an_allowed_network_does_not_open_other_spellings_of_forbidden_ones() {
        assert!(may(
            Reach::Operator,
            &["169.254.7.0/24"],
            "::ffff:169.254.7.9"
        ));
        assert!(!may(
            Reach::Operator,
            &["169.254.7.0/24"],
            "::ffff:169.254.169.254"
        ));
    }
}
