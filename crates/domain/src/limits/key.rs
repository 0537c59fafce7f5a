use std::net::{IpAddr, Ipv6Addr};

/// What is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// How often something happens.
    Rates,
    /// How often it happens in a day.
    Quotas,
    /// How often it happens at the same time.
    Concurrency,
}

/// By what it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// By the address that requests come from.
    Address,
    /// By the tenant of who calls.
    Tenant,
    /// By who calls.
    Principal,
    /// By the tool that is called, for each tenant.
    Tool,
    /// By the server that is called, for each tenant.
    Server,
}

impl Bound {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rates, Self::Quotas, Self::Concurrency];

    /// Its name in the configuration and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rates => "rates",
            Self::Quotas => "quotas",
            Self::Concurrency => "concurrency",
        }
    }

    /// What it is counted by.
    pub fn scopes(self) -> &'static [Scope] {
        use Scope::{Address, Principal, Server, Tenant, Tool};
        match self {
            Self::Rates => &[Address, Tenant, Principal, Tool, Server],
            Self::Quotas => &[Tenant, Principal, Tool],
            Self::Concurrency => &[Tenant, Principal, Server],
        }
    }
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Address,
        Self::Tenant,
        Self::Principal,
        Self::Tool,
        Self::Server,
    ];

    /// Its name in the configuration and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Tenant => "tenant",
            Self::Principal => "principal",
            Self::Tool => "tool",
            Self::Server => "server",
        }
    }
}

/// What one count is for. Tools and servers are counted for each tenant, so that no tenant uses up
/// what another has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// An address; made by [`Key::of_address`].
    Address(IpAddr),
    /// A tenant.
    Tenant(&'a str),
    /// A principal, by its [id](crate::Principal::id), which is unique over all tenants.
    Principal(&'a str),
    /// A tool.
    Tool {
        /// The tenant that calls it.
        tenant: &'a str,
        /// The server that has it.
        server: &'a str,
        /// The server's own name of it; `None` for all names that the server does not list: callers
        /// can make up any number of those.
        tool: Option<&'a str>,
    },
    /// A server.
    Server {
        /// The tenant that calls it.
        tenant: &'a str,
        /// Its name.
        server: &'a str,
    },
}

/// What counts as one client of all its addresses. Of IPv6 it is the /64 network: that much one host has
/// at its command (RFC 6177). An IPv4 address that is written as an IPv6 one is the IPv4 address.
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Key<'_> {
    /// The key of an address: that of its [`client`].
    pub fn of_address(address: IpAddr) -> Self {
        Self::Address(client(address))
    }

    /// What the key is of.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Address(_) => Scope::Address,
            Self::Tenant(_) => Scope::Tenant,
            Self::Principal(_) => Scope::Principal,
            Self::Tool { .. } => Scope::Tool,
            Self::Server { .. } => Scope::Server,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_one_host_has_are_one() {
        let key = |text: &str| Key::of_address(text.parse().unwrap());
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
