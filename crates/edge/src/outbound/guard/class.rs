use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address leads to, as far as it matters for who may send the gateway there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Anywhere in the Internet.
    Public,
    /// This machine or a network that is not the Internet: loopback, private, shared, reserved for
    /// documentation or tests.
    Internal,
    /// The same link only: nothing that is configured by address lives there, and the metadata
    /// services of clouds do.
    LinkLocal,
    /// A metadata service of a cloud, which hands out the machine's credentials.
    Metadata,
    /// No host at all.
    Unspecified,
    /// Many hosts: multicast and broadcast.
    Many,
    /// Reserved, for nobody to use.
    Reserved,
}

impl Class {
    /// What it is, as the end of a sentence about an address.
    pub fn description(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::Internal => "an address of this machine or of an internal network",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "the metadata service of a cloud",
            Self::Unspecified => "no address of a host",
            Self::Many => "a multicast or broadcast address",
            Self::Reserved => "a reserved address",
        }
    }

    /// The order of strictness, where two classes are true of one address.
    fn rank(self) -> u8 {
        match self {
            Self::Public => 0,
            Self::Internal => 1,
            Self::Reserved => 2,
            Self::Many => 3,
            Self::Unspecified => 4,
            Self::LinkLocal => 5,
            Self::Metadata => 6,
        }
    }
}

/// Metadata services outside of the link-local networks: Alibaba Cloud, Azure (wire server), Oracle
/// Cloud.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same with IPv6, as network and prefix: AWS (all services of an instance), Google Cloud.
const METADATA_V6: [(Ipv6Addr, u32); 2] = [
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128),
];

/// What the address leads to. An IPv6 address that carries an IPv4 address is at least what that
/// one is: a translator or tunnel on the way may lead there.
pub fn class_of(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => {
            let inner = carried(address).into_iter().map(v4);
            inner
                .chain([v6(address)])
                .max_by_key(|class| class.rank())
                .unwrap_or(Class::Reserved)
        }
    }
}

/// The special-purpose registry of IANA (RFC 6890 and what it has grown by), and the clouds.
fn v4(address: Ipv4Addr) -> Class {
    if METADATA_V4.contains(&address) || address == Ipv4Addr::new(169, 254, 169, 254) {
        return Class::Metadata;
    }
    match address.octets() {
        [0, ..] => Class::Unspecified,
        [169, 254, ..] => Class::LinkLocal,
        [224..=239, ..] | [255, 255, 255, 255] => Class::Many,
        [240..=255, ..] => Class::Reserved,
        [10 | 127, ..]
        | [100, 64..=127, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Class::Internal,
        _ => Class::Public,
    }
}

fn v6(address: Ipv6Addr) -> Class {
    let within = |(network, bits): (Ipv6Addr, u32)| {
        (network.to_bits() ^ address.to_bits()).leading_zeros() >= bits
    };
    if METADATA_V6.into_iter().any(within) {
        return Class::Metadata;
    }
    if address.is_unspecified() {
        return Class::Unspecified;
    }
    match address.segments() {
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xff00..=0xffff, ..] => Class::Many,
        // Documentation (RFC 3849, RFC 9637), benchmarks (RFC 5180), identifiers that are no
        // addresses (RFC 7343).
        [0x2001, 0xdb8 | 0x10..=0x3f, ..] | [0x3fff, 0..=0xfff, ..] | [0x2001, 2, 0, ..] => {
            Class::Internal
        }
        // Global unicast (RFC 4291, section 2.5.4, as IANA assigns it), and IPv4 addresses in the
        // clothes of IPv6, which are judged by themselves alone.
        [0x2000..=0x3fff, ..] | [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            Class::Public
        }
        // All else is not routed in the Internet.
        _ => Class::Internal,
    }
}

/// The IPv4 addresses that an IPv6 address carries, by the forms that are known.
fn carried(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let octets = address.octets();
    let of = |places: [usize; 4]| Ipv4Addr::from(places.map(|place| octets[place]));
    let last = of([12, 13, 14, 15]);
    match address.segments() {
        // Mapped (RFC 4291, section 2.5.5.2), translated (RFC 2765), NAT64 (RFC 6052, section
        // 2.1), ISATAP (RFC 5214, section 6.1).
        [0, 0, 0, 0, 0, 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [.., 0 | 0x200, 0x5efe, _, _] => vec![last],
        // Compatible (RFC 4291, section 2.5.5.1); `::` and `::1` are none.
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => vec![last],
        // The local prefix of NAT64 (RFC 8215), by the lengths that it may be divided into (RFC
        // 6052, section 2.2).
        [0x64, 0xff9b, 1, ..] => vec![
            of([6, 7, 9, 10]),
            of([7, 9, 10, 11]),
            of([9, 10, 11, 12]),
            last,
        ],
        // 6to4 (RFC 3056).
        [0x2002, ..] => vec![of([2, 3, 4, 5])],
        // Teredo (RFC 4380, section 4): the server, and the client with its bits inverted.
        [0x2001, 0, ..] => vec![of([4, 5, 6, 7]), Ipv4Addr::from_bits(!last.to_bits())],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(text: &str) -> Class {
        class_of(text.parse().unwrap())
    }

    #[test]
    fn addresses_are_what_the_registries_say() {
        for (text, expected) in [
            ("1.1.1.1", Class::Public),
            ("100.63.255.255", Class::Public),
            ("100.128.0.1", Class::Public),
            ("172.15.0.1", Class::Public),
            ("2606:4700::1111", Class::Public),
            ("127.0.0.1", Class::Internal),
            ("127.255.255.255", Class::Internal),
            ("10.0.0.1", Class::Internal),
            ("172.31.255.255", Class::Internal),
            ("192.168.0.1", Class::Internal),
            ("100.64.0.1", Class::Internal),
            ("192.0.2.1", Class::Internal),
            ("::1", Class::Internal),
            ("fc00::1", Class::Internal),
            ("fec0::1", Class::Internal),
            ("2001:db8::1", Class::Internal),
            ("4000::1", Class::Internal),
            ("0.0.0.0", Class::Unspecified),
            ("0.1.2.3", Class::Unspecified),
            ("::", Class::Unspecified),
            ("169.254.0.1", Class::LinkLocal),
            ("fe80::1", Class::LinkLocal),
            ("febf:ffff::1", Class::LinkLocal),
            ("169.254.169.254", Class::Metadata),
            ("100.100.100.200", Class::Metadata),
            ("168.63.129.16", Class::Metadata),
            ("192.0.0.192", Class::Metadata),
            ("fd00:ec2::254", Class::Metadata),
            ("fd00:ec2::23", Class::Metadata),
            ("fd20:ce::254", Class::Metadata),
            ("224.0.0.1", Class::Many),
            ("255.255.255.255", Class::Many),
            ("ff02::1", Class::Many),
            ("240.0.0.1", Class::Reserved),
        ] {
            assert_eq!(class(text), expected, "{text}");
        }
    }

    /// Every IPv6 address that may lead to an IPv4 address.
    fn spellings(address: Ipv4Addr) -> Vec<Ipv6Addr> {
        let [a, b, c, d] = address.octets();
        let pair = |x: u8, y: u8| u16::from_be_bytes([x, y]);
        let (high, low) = (pair(a, b), pair(c, d));
        vec![
            Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, high, pair(0, c), pair(d, 0), 0, 0),
            Ipv6Addr::new(0x64, 0xff9b, 1, 7, pair(0, a), pair(b, c), pair(d, 0), 0),
            Ipv6Addr::new(0x64, 0xff9b, 1, 7, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 0xfefe, 0xfefe),
            Ipv6Addr::new(0x2001, 0, 0x101, 0x101, 0, 0, !high, !low),
            Ipv6Addr::new(0x2606, 1, 2, 3, 0, 0x5efe, high, low),
            Ipv6Addr::new(0x2606, 1, 2, 3, 0x200, 0x5efe, high, low),
        ]
    }

    proptest! {
        #[test]
        fn no_spelling_of_an_address_is_milder_than_itself(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            for spelled in spellings(address) {
                prop_assert!(
                    class_of(spelled.into()).rank() >= v4(address).rank(),
                    "{spelled} leads to {address}"
                );
            }
        }

        #[test]
        fn link_local_is_never_public(rest: u16, tail: u64) {
            let [a, b] = rest.to_be_bytes();
            let address = Ipv4Addr::new(169, 254, a, b);
            for spelled in spellings(address) {
                prop_assert!(class_of(spelled.into()).rank() >= Class::LinkLocal.rank());
            }
            let local = (0xfe80_u128 << 112) | (u128::from(rest) << 64) | u128::from(tail);
            prop_assert!(class_of(Ipv6Addr::from_bits(local).into()).rank() >= Class::LinkLocal.rank());
        }
    }

    #[test]
    fn every_spelling_of_the_metadata_service_is_known() {
        for address in [
            Ipv4Addr::new(169, 254, 169, 254),
            METADATA_V4[0],
            METADATA_V4[1],
        ] {
            for spelled in spellings(address) {
                assert_eq!(class_of(spelled.into()), Class::Metadata, "{spelled}");
            }
        }
        assert_eq!(class("::a9fe:a9fe"), Class::Metadata);
        assert_eq!(class("::ffff:1.1.1.1"), Class::Public);
    }
}
