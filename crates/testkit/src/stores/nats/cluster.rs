//! Three NATS that share streams.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{Certificates, Login, NKey, Nats, Node, Options, StoreError, ports, tool};

/// Their names.
const NAMES: [&str; 3] = ["one", "two", "three"];
/// How long the nodes may take to agree on a leader.
const AGREED: Duration = Duration::from_secs(40);

/// A running cluster of three nodes, which trust one authority.
pub struct Cluster {
    nodes: Vec<Nats>,
}

impl Cluster {
    /// A new one: JetStream has a leader that all nodes agree on, and each node answers.
    pub async fn start() -> Result<Self, StoreError> {
        let certificates = Certificates::new()?;
        let nkey = Arc::new(NKey::new()?);
        let options = Options::default();
        let routes = NAMES.map(|_| ports::free_address());
        let mut nodes = Vec::new();
        for (name, own) in NAMES.into_iter().zip(routes) {
            let node = Node {
                name,
                routes: own,
                all_routes: &routes,
            };
            nodes.push(Nats::of(&certificates, &nkey, &options, Some(&node)).await?);
        }
        let cluster = Self { nodes };
        cluster.agrees().await?;
        Ok(cluster)
    }

    /// Waits until all nodes name the same leader of JetStream and answer.
    pub async fn agrees(&self) -> Result<(), StoreError> {
        tool::until("a leader of JetStream", AGREED, async || {
            let mut leaders = Vec::new();
            for node in &self.nodes {
                let state = node.monitor("/jsz").await?;
                let cluster = &state["meta_cluster"];
                let leader = cluster["leader"].as_str().unwrap_or_default();
                if leader.is_empty() || cluster["cluster_size"] != NAMES.len() {
                    return Err(disagreement(&state));
                }
                leaders.push(leader.to_owned());
            }
            leaders.dedup();
            match leaders.as_slice() {
                [_] => Ok(()),
                _ => Err(disagreement(&leaders.into())),
            }
        })
        .await?;
        for node in &self.nodes {
            node.answers().await?;
        }
        Ok(())
    }

    /// The user of all nodes, at the first one.
    pub fn login(&self) -> &Login {
        self.nodes[0].login()
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Nats] {
        &self.nodes
    }

    /// A node, to do something to it.
    pub fn node_mut(&mut self, index: usize) -> &mut Nats {
        &mut self.nodes[index]
    }
}

fn disagreement(state: &Value) -> StoreError {
    StoreError::Tool {
        program: "JetStream".to_owned(),
        output: state.to_string(),
    }
}
