//! Several gateways of one configuration behind one address, as in production: any replica may get any
//! request, also the second of a session and the answer to a question.
//!
//! The balancer is `haproxy`, without affinity. It asks `/readyz`, so that a replica that drains gets no
//! more work, and keeps none of what it passes on.

mod balancer;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use http::HeaderMap;
use serde_json::Value;

use self::balancer::Balancer;
use crate::{
    gateway::{Gateway, GatewayError},
    raw::{Client, RawError, legacy::Session, modern::Caller},
    stores::{Fault, StoreError},
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
    plan: Plan,
    /// What stands before each replica that was started, by its address.
    networks: HashMap<SocketAddr, Fault>,
    /// How many were started.
    started: usize,
}

/// How replicas are started.
pub struct Plan {
    binary: PathBuf,
    configuration: Box<dyn Fn(usize) -> String + Send + Sync>,
    breaks: bool,
}

impl Plan {
    /// Replicas of `binary`, the one with the number N with `configuration(N)`, which has to name
    /// `session.keys`: each would make its own.
    pub fn new(
        binary: impl Into<PathBuf>,
        configuration: impl Fn(usize) -> String + Send + Sync + 'static,
    ) -> Self {
        Self {
            binary: binary.into(),
            configuration: Box::new(configuration),
            breaks: false,
        }
    }

    /// The same, with a network between the balancer and each replica that can break.
    #[must_use]
    pub fn with_networks(self) -> Self {
        Self {
            breaks: true,
            ..self
        }
    }
}

impl Fleet {
    /// Starts so many replicas of `binary` with `yaml`. Waits until the balancer uses all of them.
    pub async fn start(
        binary: impl Into<PathBuf>,
        yaml: &str,
        replicas: usize,
    ) -> Result<Self, FleetError> {
        let yaml = yaml.to_owned();
        Self::of(Plan::new(binary, move |_| yaml.clone()), replicas).await
    }

    /// Starts so many replicas. Waits until the balancer uses all of them.
    pub async fn of(plan: Plan, replicas: usize) -> Result<Self, FleetError> {
        let mut fleet = Self {
            balancer: Balancer::start().await?,
            replicas: Vec::new(),
            plan,
            networks: HashMap::new(),
            started: 0,
        };
        for _ in 0..replicas {
            fleet.launch().await?;
        }
        fleet.balance().await?;
        Ok(fleet)
    }

    async fn launch(&mut self) -> Result<(), FleetError> {
        let yaml = (self.plan.configuration)(self.started);
        let replica = Gateway::start(Path::new(&self.plan.binary), &yaml).await?;
        if self.plan.breaks {
            let network = Fault::before(replica.address())?;
            self.networks.insert(replica.address(), network);
        }
        self.replicas.push(replica);
        self.started += 1;
        Ok(())
    }

    /// Adds a replica, and gives the balancer the new list without a connection that is lost.
    pub async fn grow(&mut self) -> Result<(), FleetError> {
        self.launch().await?;
        self.balance().await
    }

    /// The network between the balancer and the replica at `index`, where the plan has one.
    pub fn network(&self, index: usize) -> Option<&Fault> {
        self.networks.get(&self.replicas.get(index)?.address())
    }

    /// Takes the replica at `index` out of the fleet: it is told to end, and the balancer finds that it
    /// is not ready any more. The gateway, for waiting for its end.
    pub fn retire(&mut self, index: usize) -> Result<Gateway, FleetError> {
        let mut replica = self.replicas.remove(index);
        replica.signal(nix::sys::signal::Signal::SIGTERM)?;
        Ok(replica)
    }

    /// Takes the replica at `index`, which has ended in whatever way, out of the fleet.
    pub fn remove(&mut self, index: usize) -> Gateway {
        self.replicas.remove(index)
    }

    /// Tells the balancer which replicas there are.
    pub async fn balance(&mut self) -> Result<(), FleetError> {
        let addresses = self.replicas.iter().map(Gateway::address);
        let reached = addresses.map(|own| self.networks.get(&own).map_or(own, Fault::address));
        Ok(self.balancer.use_only(&reached.collect::<Vec<_>>()).await?)
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
        Client::new(self.url())
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
