//! Three Redis that share the key space.

use std::time::Duration;

use super::{Certificates, Login, Options, Redis, StoreError, ports, tool};

/// The first slot of each node, and where the last ends.
const SLOTS: [u32; 4] = [0, 5461, 10_923, 16_384];
/// How long the nodes may take to agree.
const AGREED: Duration = Duration::from_secs(20);

/// A running cluster of three nodes without replicas, which trust one authority. A node that is lost
/// takes its part of the key space with it until it is back.
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// A new one; all nodes agree that it is complete.
    pub async fn start() -> Result<Self, StoreError> {
        let certificates = Certificates::new()?;
        let mut nodes: Vec<Redis> = Vec::new();
        for part in SLOTS.windows(2) {
            let bus = ports::free_address();
            let options = Options {
                settings: vec![
                    "cluster-enabled yes".to_owned(),
                    format!("cluster-port {}", bus.port()),
                    "tls-cluster yes".to_owned(),
                    "cluster-announce-ip 127.0.0.1".to_owned(),
                    "cluster-node-timeout 2000".to_owned(),
                ],
                ..Options::default()
            };
            let node = Redis::of(&certificates, &options).await?;
            let login = node.login();
            let epoch = (nodes.len() + 1).to_string();
            login
                .expect(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch], "OK")
                .await?;
            let (first, last) = (part[0].to_string(), (part[1] - 1).to_string());
            login
                .expect(&["CLUSTER", "ADDSLOTSRANGE", &first, &last], "OK")
                .await?;
            if let Some(met) = nodes.first() {
                let port = login.address.port().to_string();
                let bus = bus.port().to_string();
                let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
                met.login().expect(&meet, "OK").await?;
            }
            nodes.push(node);
        }
        let cluster = Self { nodes };
        cluster.agrees().await?;
        Ok(cluster)
    }

    /// Waits until all nodes say that the cluster is complete.
    pub async fn agrees(&self) -> Result<(), StoreError> {
        for node in &self.nodes {
            tool::until("a complete cluster", AGREED, async || {
                let answer = node.login().ask(&["CLUSTER", "INFO"]).await?;
                let complete = [
                    "cluster_state:ok",
                    "cluster_slots_ok:16384",
                    "cluster_known_nodes:3",
                    "cluster_size:3",
                ];
                let says = |part: &&str| answer.lines().any(|line| line.trim() == *part);
                if complete.iter().all(says) {
                    return Ok(());
                }
                Err(StoreError::Tool {
                    program: "CLUSTER INFO".to_owned(),
                    output: answer,
                })
            })
            .await?;
        }
        Ok(())
    }

    /// The user of all nodes, at the first one.
    pub fn login(&self) -> &Login {
        self.nodes[0].login()
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// A node, to do something to it.
    pub fn node_mut(&mut self, index: usize) -> &mut Redis {
        &mut self.nodes[index]
    }
}
