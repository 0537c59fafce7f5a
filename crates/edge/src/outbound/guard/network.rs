use std::{fmt, net::IpAddr, str::FromStr};

/// The addresses that begin with the same bits (CIDR, RFC 4632; RFC 4291, section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// The text is not `address` or `address/bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not an address such as 10.1.2.3 or a network such as 10.0.0.0/8")]
pub struct NoNetwork;

impl Network {
    /// Whether the address is one of these. An IPv4-mapped address is the IPv4 address.
    pub fn has(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| NoNetwork)?
            }
            Some(_) => return Err(NoNetwork),
            None => most,
        };
        if bits > most {
            return Err(NoNetwork);
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_nothing_else() {
        let has = |network: &str, address: &str| {
            network
                .parse::<Network>()
                .unwrap()
                .has(address.parse().unwrap())
        };
        assert!(has("10.0.0.0/8", "10.255.0.1"));
        assert!(!has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("0.0.0.0/0", "1.2.3.4"));
        assert!(!has("0.0.0.0/0", "::1"), "only of its own family");
        assert!(has("fd00::/8", "fdff::1"));
        assert!(has("::1", "::1"));
        assert!(!has("::1", "::2"));
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10/8",
            "a/8",
            "1.2.3.4/",
            "1.2.3.4/+8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
