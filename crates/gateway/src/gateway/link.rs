use std::time::Duration;

use mcp_ultra_domain::Principal;

use super::Gateway;
use crate::{
    connect::{self, Connect, ConnectLink, NoLink},
    random,
};

impl Gateway {
    /// How long a link to connect a server is good.
    pub const LINK_LIFETIME: Duration = connect::LIFETIME;

    /// An identifier for a link that is to be made.
    pub fn new_link_id() -> String {
        random::identifier()
    }

    /// Whether `principal` can be asked to connect `server`; `None` where that is none that people
    /// connect.
    pub fn check_connect_link(
        &self,
        principal: &Principal,
        server: &str,
    ) -> Option<Result<(), NoLink>> {
        Some(self.connecting(server)?.check(principal))
    }

    /// A link by which `principal`, who has to log in as that one, connects `server`, before they
    /// have called it. The same `id` and end (since the Unix epoch) make the same link. `None` where
    /// `server` is none that people connect.
    pub fn connect_link(
        &self,
        principal: &Principal,
        server: &str,
        id_and_end: (&str, Duration),
    ) -> Option<Result<ConnectLink, NoLink>> {
        let connect = self.connecting(server)?;
        Some(connect.link_ahead(&self.sealer, principal, server, id_and_end))
    }

    fn connecting(&self, server: &str) -> Option<&Connect> {
        let upstream = self.snapshot().upstream(server).cloned()?;
        upstream.settings().granted()?;
        self.connect.as_deref()
    }
}
