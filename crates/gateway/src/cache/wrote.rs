use std::sync::Arc;

use mcp_ultra_domain::Principal;

use crate::Gateway;

/// Goes with a call that may change something at its server. When it ends, however it ends, what its
/// caller could see that by is outdated: whoever has changed something does not see what was before.
pub(crate) struct Wrote {
    pub gateway: Arc<Gateway>,
    pub server: Arc<str>,
    pub principal: Principal,
}

impl std::fmt::Debug for Wrote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wrote")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Drop for Wrote {
    fn drop(&mut self) {
        self.gateway.written(&self.server, &self.principal);
    }
}
