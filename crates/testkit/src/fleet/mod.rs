//! Several gateways of one configuration behind one address, as in production: any replica may get any
//! request, also the second of a session and the answer to a question.
//!
//! The balancer is `haproxy`, without affinity. It asks `/readyz`, so that a replica that drains gets no
//! more work, and keeps none of what it passes on.

mod balancer;

use std::{net::SocketAddr, path::PathBuf};

use http::HeaderMap;
use serde_json::Value;

use self::balancer::Balancer;
use crate::{
    gateway::{Gateway, GatewayError},
    raw::{Client, RawError, legacy::Session, modern::Caller},
    stores::StoreError,
};

/// Why a fleet can't be had.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A replica.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The balancer.
    #[error(transparent)]
    Balancer(#[from] StoreError),
}

/// Gateways behind a balancer; dropping it ends all of them.
pub struct Fleet {
    // Before the replicas: it ends first.
    balancer: Balancer,
    replicas: Vec<Gateway>,
    binary: PathBuf,
    yaml: String,
    client: Option<Client>,
}

impl Fleet {
    /// Starts so many replicas of `binary` with `yaml`, which has to name `session.keys`: each would
    /// make its own. Waits until the balancer uses all of them.
    pub async fn start(
        binary: impl Into<PathBuf>,
        yaml: &str,
        replicas: usize,
    ) -> Result<Self, FleetError> {
        let binary = binary.into();
        let mut all = Vec::new();
        for _ in 0..replicas {
            all.push(Gateway::start(&binary, yaml).await?);
        }
        let addresses: Vec<SocketAddr> = all.iter().map(Gateway::address).collect();
        let balancer = Balancer::start(&addresses).await?;
        Ok(Self {
            balancer,
            replicas: all,
            binary,
            yaml: yaml.to_owned(),
            client: None,
        })
    }

    /// Adds a replica, and gives the balancer the new list without a connection that is lost.
    pub async fn grow(&mut self) -> Result<(), FleetError> {
        let replica = Gateway::start(&self.binary, &self.yaml).await?;
        self.replicas.push(replica);
        self.balance().await
    }

    /// Takes the replica at `index` out of the fleet: it is told to end, and the balancer finds that it
    /// is not ready any more. The gateway, for waiting for its end.
    pub fn retire(&mut self, index: usize) -> Result<Gateway, FleetError> {
        let mut replica = self.replicas.remove(index);
        replica.signal(nix::sys::signal::Signal::SIGTERM)?;
        Ok(replica)
    }

    /// Tells the balancer which replicas there are.
    pub async fn balance(&mut self) -> Result<(), FleetError> {
        let addresses: Vec<SocketAddr> = self.replicas.iter().map(Gateway::address).collect();
        Ok(self.balancer.use_only(&addresses).await?)
    }

    /// The replicas themselves.
    pub fn replicas(&self) -> &[Gateway] {
        &self.replicas
    }

    /// The replicas themselves, to be killed and paused.
    pub fn replicas_mut(&mut self) -> &mut [Gateway] {
        &mut self.replicas
    }

    /// The endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.balancer.address())
    }

    /// A client of the endpoint. Its requests go to one replica after the other.
    pub fn client(&self) -> Client {
        let new = || Client::new(self.url());
        self.client.clone().unwrap_or_else(new)
    }

    /// A modern caller with form elicitation, sampling and roots.
    pub fn caller(&self) -> Caller {
        Caller::new(self.client())
    }

    /// A legacy session that declares `capabilities`.
    pub async fn session(&self, version: &str, capabilities: Value) -> Result<Session, RawError> {
        Session::open(self.client(), version, capabilities, HeaderMap::new()).await
    }
}
