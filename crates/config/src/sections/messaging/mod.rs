//! How the gateways of one site tell each other what has changed.

mod nats;

pub use nats::{NatsSettings, NatsTls};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validate::Findings;

/// Without it a gateway finds what others have changed by looking, as often as it does anyway: API
/// keys by `auth.api_keys.recheck`, the rest within seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MessagingSection {
    /// A NATS server or cluster, over which a change is known to all gateways within a second. What
    /// has changed is in `storage`, which they share; messages only say where to look.
    pub nats: Option<NatsSettings>,
}

impl MessagingSection {
    pub(super) fn check(&self, findings: &mut Findings) {
        if let Some(nats) = &self.nats {
            nats.check(findings);
        }
    }
}
